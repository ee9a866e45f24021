// Everything one component says of itself, and the command that acts on it.
import { html } from "./vendor/htm-preact-3.1.1.mjs";
import { useComponent } from "./feed.mjs";
import { Status } from "./parts.mjs";
import { clock, count, typed, value } from "./words.mjs";

const rejected = ({ counters }) => Object.entries(counters ?? {}).some(([k, n]) => n > 0 && /^(rejects|refused)_total/.test(k));
const without = (facts, ...names) => Object.fromEntries(Object.entries(facts ?? {}).filter(([k]) => !names.includes(k)));
const show = (v) => (typeof v === "object" && v !== null ? JSON.stringify(v) : value(v));

function List({ title, items }) {
  const entries = Object.entries(items ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!entries.length) return null;
  return html`<h2>${title}</h2><dl>${entries.map(([k, v]) => html`<dt key=${k}>${k}</dt><dd>${show(v)}</dd>`)}</dl>`;
}

// Every point by its name, as far as the gateway tells them; what the sentence says is not said again.
function Cause({ cause }) {
  const more = cause.points - cause.names.length;
  return html`<li>${cause.said}${cause.since ? html`<span class="quiet"> since ${clock(cause.since)}</span>` : null}
    ${cause.next_step ? html`<span class="next">${cause.next_step}</span>` : null}
    ${cause.names.length > 1 ? html`<details><summary>all ${count(cause.points)}</summary>
      <pre>${cause.names.join("\n")}${more > 0 ? `\nand ${count(more)} more; the list of values has them all, BAD` : ""}</pre></details>` : null}
  </li>`;
}

export function Drawer({ node, twins, terminal, close }) {
  const name = node.id.split("/").pop();
  const figures = useComponent(node.id) ?? {};
  const causes = node.status === "DEGRADED" ? figures.facts?.causes ?? [] : [];
  return html`<aside aria-label=${`Details of ${name}`}>
    <button class="close" onClick=${close} aria-label="Close details">✕</button>
    <h1 class="id">${name}</h1>
    <p class="quiet id">${node.id}</p>
    <p><${Status} status=${node.status} /> ${causes.length ? "" : node.reason ?? ""}</p>
    ${causes.length ? html`<ul class="causes">${causes.map((c) => html`<${Cause} key=${c.said} cause=${c} />`)}</ul>` : null}
    <dl>
      <dt>pid</dt><dd class="id">${node.pid ?? "–"}</dd>
      <dt>started</dt><dd>${node.started_at ? clock(node.started_at) : "–"}</dd>
      <dt>restarts</dt><dd>${node.restarts ?? 0}${node.restarts_max == null ? "" : ` of ${node.restarts_max} allowed`}</dd>
    </dl>
    ${node.last_exit ? html`<h2>Last end</h2><pre>${node.last_exit}</pre>` : null}
    <${List} title="Facts" items=${without(figures.facts, "causes")} />
    <${List} title="Now" items=${figures.gauges} />
    <${List} title="Counted since its start" items=${figures.counters} />
    <h2>In a terminal</h2>
    <pre>${typed(terminal, `restart ${twins > 1 ? node.id : name}`)}</pre>
    ${rejected(figures) ? html`<p class="quiet">what was rejected, with the reasons:</p>
      <pre>${typed(terminal, "tail dlq.telemetry")}</pre><pre>${typed(terminal, "tail dlq.events")}</pre>` : null}
  </aside>`;
}
