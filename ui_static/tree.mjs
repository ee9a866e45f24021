// The supervision tree: who lives, since when, how often restarted. Arrow keys walk it; Tab passes it in one step.
import { html, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Status } from "./parts.mjs";
import { duration, tone, typed } from "./words.mjs";

const troubled = (node) => tone(node.status) !== "" && node.state !== "finished";

// A branch stays when something below it does: a row without its way from the root says little.
function fitting(node, words, only) {
  const children = (node.children ?? []).map((child) => fitting(child, words, only)).filter(Boolean);
  const text = `${node.id} ${node.status} ${node.reason ?? ""}`.toLowerCase();
  const fits = words.every((w) => text.includes(w)) && (!only || (troubled(node) && !node.children));
  return fits || children.length ? { ...node, children: node.children && children } : null;
}

function rows(node, closed, level = 1) {
  const own = { node, level };
  if (closed.has(node.id)) return [own];
  return [own, ...(node.children ?? []).flatMap((child) => rows(child, closed, level + 1))];
}

const edges = (row) => [...row.parentElement.children].filter((_, at, all) => at === 0 || at === all.length - 1);

function Row({ node, level, now, closed, toggle, current, setCurrent, selected, select }) {
  const keys = (event) => {
    const row = event.currentTarget;
    const [first, last] = edges(row);
    const move = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: first, End: last ?? first }[event.key];
    if (move) move.focus();
    else if (event.key === "ArrowLeft" && node.children?.length) toggle(node.id, true);
    else if (event.key === "ArrowRight") toggle(node.id, false);
    else if (event.key === "Enter" || event.key === " ") select(node.id);
    else return;
    event.preventDefault();
  };
  const twist = node.children?.length ? (closed.has(node.id) ? "▸" : "▾") : "";
  return html`<tr role="row" tabindex=${current ? 0 : -1} aria-level=${level} aria-selected=${selected}
      aria-expanded=${node.children?.length ? !closed.has(node.id) : undefined}
      onFocus=${() => setCurrent(node.id)} onClick=${() => select(node.id)} onKeyDown=${keys}>
    <td style=${`padding-left:${10 + (level - 1) * 18}px`}>
      <span class="twist" onClick=${(e) => { e.stopPropagation(); toggle(node.id, !closed.has(node.id)); }}>${twist}</span><span class="id">${node.id.split("/").pop()}</span>
      ${node.role === "supervisor" ? html`<span class="quiet"> ${node.strategy ?? ""}</span>` : null}
    </td>
    <td><${Status} status=${node.state === "finished" ? "finished" : node.status} /></td>
    <td class="num" title="restarts in the window, of those allowed; in all">${node.restarts ?? 0}${node.restarts_max == null ? "" : ` of ${node.restarts_max}`} · ${node.restarts_total ?? 0}</td>
    <td class="num">${node.started_at ? duration(now - node.started_at / 1e6) : "–"}</td>
    <td class="num id">${node.pid ?? "–"}</td>
    <td class="wide quiet">${node.reason ?? (node.state === "finished" ? "" : node.last_exit?.trim().split("\n").pop() ?? "")}</td>
  </tr>`;
}

export function Tree({ tree, terminal, now, selected, select }) {
  const [closed, setClosed] = useState(new Set());
  const [search, setSearch] = useState("");
  const [only, setOnly] = useState(false);
  const [at, setCurrent] = useState("");
  const found = fitting(tree, search.toLowerCase().split(/\s+/).filter(Boolean), only);
  const list = found ? rows(found, closed) : [];
  const current = list.some(({ node }) => node.id === at) ? at : list[0]?.node.id;
  const toggle = (id, shut) => {
    const next = new Set(closed);
    shut ? next.add(id) : next.delete(id);
    setClosed(next);
  };
  return html`<section id="components" aria-label="Components">
    <h2>Components</h2>
    <div class="tools">
      <input type="search" placeholder="Search" aria-label="Search components" value=${search} onInput=${(e) => setSearch(e.target.value)} />
      <label><input type="checkbox" checked=${only} onChange=${() => setOnly(!only)} /> only those in trouble</label>
      <span class="quiet">in a terminal: <code>${typed(terminal, "tree")}</code></span>
    </div>
    <div class="sheet">
      <table role="treegrid" aria-label="Supervision tree">
        <thead><tr><th>Component</th><th>Status</th><th class="num">Restarts</th><th class="num">Up</th><th class="num">Pid</th><th>Reason or last end</th></tr></thead>
        <tbody>
          ${list.map(({ node, level }) => html`<${Row} key=${node.id} node=${node} level=${level} now=${now} closed=${closed} toggle=${toggle}
            current=${node.id === current} setCurrent=${setCurrent} selected=${selected === node.id} select=${select} />`)}
        </tbody>
      </table>
      ${list.length ? null : html`<p class="empty">${only && !search ? "Nothing is in trouble." : "Nothing fits the search."}</p>`}
    </div>
  </section>`;
}
