//! Spans as OTLP's protobuf.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as Wire, Status, span::SpanKind, status::StatusCode,
};
use prost::Message as _;

use super::span::{Kind, Span, Value};

/// One request's body.
pub fn encode(spans: &[Span], service: &str) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", &service.into()),
            attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "pando-gateway".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scoped = ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(wire).collect(),
        ..ScopeSpans::default()
    };
    let all = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scoped],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![all],
    };
    request.encode_to_vec()
}

fn wire(span: &Span) -> Wire {
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let state = span.state.as_ref().and_then(|state| state.to_str().ok());
    let parent = span.parent.map(|id| id.to_be_bytes().to_vec());
    Wire {
        trace_id: span.context.trace_id.to_be_bytes().to_vec(),
        span_id: span.context.span_id.to_be_bytes().to_vec(),
        trace_state: state.unwrap_or("").to_owned(),
        parent_span_id: parent.unwrap_or_default(),
        flags: u32::from(span.context.flags),
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.start + span.took.max(Duration::from_nanos(1))),
        attributes: span
            .attributes
            .iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
        status: span.failed.then(|| Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..Wire::default()
    }
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.clone()),
        Value::Number(number) => any_value::Value::IntValue(*number),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Since 1970.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
