// The supervision tree: who lives, since when, how often restarted. Arrow keys walk it.
import { html, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Status } from "./parts.mjs";
import { duration } from "./words.mjs";

function rows(node, closed, level = 1) {
  const own = { node, level };
  if (closed.has(node.id)) return [own];
  return [own, ...(node.children ?? []).flatMap((child) => rows(child, closed, level + 1))];
}

export function Tree({ tree, now, selected, select }) {
  const [closed, setClosed] = useState(new Set());
  const list = rows(tree, closed);
  const toggle = (id, shut) => {
    const next = new Set(closed);
    shut ? next.add(id) : next.delete(id);
    setClosed(next);
  };
  const keys = (event, node) => {
    const row = event.currentTarget;
    const move = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (move) move.focus();
    else if (event.key === "ArrowLeft" && node.children?.length) toggle(node.id, true);
    else if (event.key === "ArrowRight") toggle(node.id, false);
    else if (event.key === "Enter" || event.key === " ") select(node.id);
    else return;
    event.preventDefault();
  };
  return html`<section id="components" aria-label="Components">
    <h2>Components</h2>
    <div class="sheet">
      <table role="treegrid" aria-label="Supervision tree">
        <thead><tr><th>Component</th><th>Status</th><th class="num">Restarts</th><th class="num">Up</th><th class="num">Pid</th><th>Reason or last end</th></tr></thead>
        <tbody>
          ${list.map(({ node, level }) => html`<tr key=${node.id} role="row" tabindex="0" aria-level=${level} aria-selected=${selected === node.id}
              aria-expanded=${node.children?.length ? !closed.has(node.id) : undefined}
              onClick=${() => select(node.id)} onKeyDown=${(e) => keys(e, node)}>
            <td style=${`padding-left:${10 + (level - 1) * 18}px`}>
              <span class="twist" onClick=${(e) => { e.stopPropagation(); toggle(node.id, !closed.has(node.id)); }}>${node.children?.length ? (closed.has(node.id) ? "▸" : "▾") : ""}</span><span class="id">${node.id.split("/").pop()}</span>
              ${node.role === "supervisor" ? html`<span class="quiet"> ${node.strategy ?? ""}</span>` : null}
            </td>
            <td><${Status} status=${node.state === "finished" ? "finished" : node.status} /></td>
            <td class="num" title="restarts in the window, of those allowed; in all">${node.restarts ?? 0}${node.restarts_max == null ? "" : ` of ${node.restarts_max}`} · ${node.restarts_total ?? 0}</td>
            <td class="num">${node.started_at ? duration(now - node.started_at / 1e6) : "–"}</td>
            <td class="num id">${node.pid ?? "–"}</td>
            <td class="wide quiet">${node.reason ?? node.last_exit ?? ""}</td>
          </tr>`)}
        </tbody>
      </table>
    </div>
  </section>`;
}
