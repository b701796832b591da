// A table whose columns sort. Columns: key, label, cell(row), sort(row) for a number or text,
// num for numbers, title for what it means, wide for what a phone leaves out.

import { html, useState } from "./vendor/preact-htm.js";

function compare(a, b) {
  const none = (v) => v === null || v === undefined || Number.isNaN(v);
  if (none(a) || none(b)) return none(a) ? (none(b) ? 0 : 1) : -1;
  return typeof a === "string" ? a.localeCompare(b) : b - a;
}

export function Table({ label, columns, rows, rowKey, first, most = 50, caption }) {
  const [sorted, setSorted] = useState(first ?? null);
  const [all, setAll] = useState(false);
  const column = sorted && columns.find((c) => c.key === sorted.key);
  let shown = rows;
  if (column?.sort) {
    const sign = sorted.up ? -1 : 1;
    shown = rows
      .map((row, index) => ({ row, index, value: column.sort(row) }))
      .sort((a, b) => sign * compare(a.value, b.value) || a.index - b.index)
      .map((one) => one.row);
  }
  const hidden = all ? 0 : Math.max(0, shown.length - most);
  if (hidden > 0) shown = shown.slice(0, most);
  const press = (c) => setSorted(sorted?.key === c.key ? { key: c.key, up: !sorted.up } : { key: c.key, up: false });
  return html`<div class="table" tabindex="0" role="group" aria-label=${label}>
      <table>
        ${caption && html`<caption class="unseen">${caption}</caption>`}
        <thead>
          <tr>
            ${columns.map((c) => html`<${Head} key=${c.key} column=${c} sorted=${sorted} press=${press} />`)}
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (row) => html`<tr key=${rowKey(row)}>
              ${columns.map((c, i) => {
                const kind = `${c.num ? "num" : ""} ${c.wide ? "wide" : ""} ${c.kind ?? ""}`;
                return i === 0
                  ? html`<th scope="row" key=${c.key} class=${kind}>${c.cell(row)}</th>`
                  : html`<td key=${c.key} class=${kind} data-label=${c.label}>${c.cell(row)}</td>`;
              })}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${hidden > 0 && html`<button class="more" onClick=${() => setAll(true)}>Show ${hidden} more</button>`}`;
}

function Head({ column, sorted, press }) {
  const kind = `${column.num ? "num" : ""} ${column.wide ? "wide" : ""} ${column.kind ?? ""}`;
  if (!column.sort) return html`<th scope="col" class=${kind} title=${column.title}>${column.label}</th>`;
  const on = sorted?.key === column.key;
  // `up` turns round the order that is natural for the column: large numbers first, A before B.
  const order = on ? (sorted.up === Boolean(column.num) ? "ascending" : "descending") : "none";
  const sign = on ? (order === "ascending" ? "↑" : "↓") : "";
  return html`<th scope="col" class=${kind} aria-sort=${order}>
    <button onClick=${() => press(column)} title=${column.title}>
      ${column.label}<span class="sign" aria-hidden="true">${sign}</span>
    </button>
  </th>`;
}
