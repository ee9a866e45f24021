// Everything one component says of itself, and the command that acts on it.
import { html } from "./vendor/htm-preact-3.1.1.mjs";
import { useComponent } from "./feed.mjs";
import { Status } from "./parts.mjs";
import { clock, typed, value } from "./words.mjs";

const rejected = ({ counters }) => Object.entries(counters ?? {}).some(([k, n]) => n > 0 && /^(rejects|refused)_total/.test(k));
const show = (v) => (typeof v === "object" && v !== null ? JSON.stringify(v) : value(v));

function List({ title, items }) {
  const entries = Object.entries(items ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!entries.length) return null;
  return html`<h2>${title}</h2><dl>${entries.map(([k, v]) => html`<dt key=${k}>${k}</dt><dd>${show(v)}</dd>`)}</dl>`;
}

export function Drawer({ node, twins, terminal, close }) {
  const name = node.id.split("/").pop();
  const figures = useComponent(node.id) ?? {};
  return html`<aside aria-label=${`Details of ${name}`}>
    <button class="close" onClick=${close} aria-label="Close details">✕</button>
    <h1 class="id">${name}</h1>
    <p class="quiet id">${node.id}</p>
    <p><${Status} status=${node.status} /> ${node.reason ?? ""}</p>
    <dl>
      <dt>pid</dt><dd class="id">${node.pid ?? "–"}</dd>
      <dt>started</dt><dd>${node.started_at ? clock(node.started_at) : "–"}</dd>
      <dt>restarts</dt><dd>${node.restarts ?? 0}${node.restarts_max == null ? "" : ` of ${node.restarts_max} allowed`}</dd>
    </dl>
    ${node.last_exit ? html`<h2>Last end</h2><pre>${node.last_exit}</pre>` : null}
    <${List} title="Facts" items=${figures.facts} />
    <${List} title="Now" items=${figures.gauges} />
    <${List} title="Counted since its start" items=${figures.counters} />
    <h2>In a terminal</h2>
    <pre>${typed(terminal, `restart ${twins > 1 ? node.id : name}`)}</pre>
    ${rejected(figures) ? html`<p class="quiet">what was rejected, with the reasons:</p>
      <pre>${typed(terminal, "tail dlq.telemetry")}</pre><pre>${typed(terminal, "tail dlq.events")}</pre>` : null}
  </aside>`;
}
