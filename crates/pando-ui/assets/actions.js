// Orders to the daemon, each after a question.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { plural } from "./format.js";
import { notice, order, useShared } from "./state.js";

const MAX_WORKERS = 512;

export function Actions({ app }) {
  const { hello } = useShared();
  const [asked, setAsked] = useState(null);
  const [busy, setBusy] = useState(null);
  if (hello.read_only) return html`<p class="actions note">read-only</p>`;
  const send = async (body, doing) => {
    setAsked(null);
    setBusy(doing);
    try {
      const { done } = await order({ ...body, app: app.name });
      notice(done.join(" ") || "Done.");
    } catch (error) {
      const problem = error.problem ?? { what: String(error) };
      notice(`${app.name}: ${problem.what}`, "bad", [problem.why, problem.fix, ...(problem.stderr ?? [])].filter(Boolean));
    }
    setBusy(null);
  };
  const button = (name, label) => html`<button disabled=${busy !== null} onClick=${() => setAsked(name)}>${busy === name ? `${label}…` : label}</button>`;
  return html`<div class="actions">
    ${button("reload", "Reload")} ${button("scale", "Scale")} ${button("restart", "Restart")}
    ${asked === "reload" &&
    html`<${Ask} title=${`Reload ${app.name}?`} yes="Reload" close=${() => setAsked(null)} send=${() => send({ action: "reload" }, "reload")}>
      Its workers are replaced one after the other; no request is lost. If the first new one fails, all stays as it is.
    <//>`}
    ${asked === "restart" &&
    html`<${Ask} title=${`Restart ${app.name}?`} yes="Restart" risky close=${() => setAsked(null)} send=${() => send({ action: "restart" }, "restart")}>
      All workers stop and start at once: requests fail meanwhile. A reload does the same without a gap.
    <//>`}
    ${asked === "scale" && html`<${Scale} app=${app} close=${() => setAsked(null)} send=${(to) => send({ action: "scale", to }, "scale")} />`}
  </div>`;
}

function Dialog({ title, close, children }) {
  const box = useRef(null);
  useEffect(() => {
    box.current.showModal();
  }, []);
  return html`<dialog ref=${box} onClose=${close} aria-label=${title}>
    <h2>${title}</h2>
    ${children}
  </dialog>`;
}

function Ask({ title, yes, risky, close, send, children }) {
  return html`<${Dialog} title=${title} close=${close}>
    <p>${children}</p>
    <div class="buttons">
      <button onClick=${close}>Cancel</button>
      <button class=${risky ? "risky" : "main"} onClick=${send}>${yes}</button>
    </div>
  <//>`;
}

function Scale({ app, close, send }) {
  const [to, setTo] = useState(app.wanted);
  const good = Number.isInteger(to) && to >= 0 && to <= MAX_WORKERS;
  const enter = (event) => {
    event.preventDefault();
    if (good && to !== app.wanted) send(to);
  };
  return html`<${Dialog} title=${`Scale ${app.name}`} close=${close}>
    <p>It has ${plural(app.wanted, "worker")} now. New ones start beside the others; those that leave finish their requests.</p>
    <label class="number"><span>Workers</span><input type="number" min="0" max=${MAX_WORKERS} value=${to} onInput=${(e) => setTo(e.target.valueAsNumber)} onKeyDown=${(e) => e.key === "Enter" && enter(e)} /></label>
    <div class="buttons">
      <button onClick=${close}>Cancel</button>
      <button class="main" disabled=${!good || to === app.wanted} onClick=${enter}>Scale</button>
    </div>
  <//>`;
}

export { Dialog };
