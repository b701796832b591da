use gateway_spec::{Site, Tls};
use pando_gateway::tls::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        let c = Certificates::new(Arc::new(DirectFiles));
        let site = Site {
            tls: Some(Tls::Files {
                cert: a[2].clone().into(),
                key: a[3].clone().into(),
            }),
            ..Site::new(["a.example"], vec![])
        };
        println!("{:?}", c.apply(&[site]));
        let acc = tokio_rustls::TlsAcceptor::from(server_config(&c).unwrap());
        let l = tokio::net::TcpListener::bind(&a[1]).await.unwrap();
        loop {
            let (s, _) = l.accept().await.unwrap();
            let _ = s.set_nodelay(true);
            let acc = acc.clone();
            tokio::spawn(async move {
                let Ok(mut s) = acc.accept(s).await else {
                    return;
                };
                let mut b = [0; 4096];
                while let Ok(1..) = s.read(&mut b).await {
                    if s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
                let _ = s.shutdown().await;
            });
        }
    });
}
