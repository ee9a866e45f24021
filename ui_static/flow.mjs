// From the sources to the destinations, with what passes each hop now.
import { html, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Wire } from "./parts.mjs";
import { count, duration, milliseconds, rate, tone } from "./words.mjs";

const CARDS_MAX = 8;
const TROUBLED_MAX = 6;

const sum = (items, key) => items.reduce((total, item) => total + (item[key] ?? 0), 0);

// Counted by the process that runs now: without the time the figure says nothing.
function rejected(n, since, now) {
  if (!n) return null;
  return html`<span title="counted since this process was started">${count(n)} rejected${since ? ` in ${duration(now - since / 1e6)}` : ""}</span>`;
}

function Card({ item, select, children }) {
  const kind = tone(item.status);
  return html`<button class="card ${kind}" onClick=${() => select(item.id)} title=${item.reason ?? item.id}>
    <span class="top"><span class="name">${item.name}</span><span class="rate">${rate(item.rate)}</span></span>
    <span class="under">${kind ? html`<b>${item.status}</b>` : null}${children}</span>
  </button>`;
}

// Many of a kind: those in trouble are seen, the others are one card until somebody wants them.
function Lane({ title, items, empty, card }) {
  const [all, setAll] = useState(false);
  const many = items.length > CARDS_MAX;
  const troubled = items.filter((item) => tone(item.status));
  const shown = !many || all ? items : troubled.slice(0, TROUBLED_MAX);
  const rest = items.filter((item) => !shown.includes(item));
  return html`<div class="lane ${all ? "all" : ""}">
    <h3>${title}${many ? ` (${items.length}${troubled.length ? `, ${troubled.length} in trouble` : ""})` : ""}</h3>
    ${shown.map(card)}
    ${many ? html`<button class="card more" aria-expanded=${all} onClick=${() => setAll(!all)}>
      ${all ? "Show fewer" : html`<span class="top"><span class="name">${rest.length} more</span><span class="rate">${rate(sum(rest, "rate"))}</span></span>`}
    </button>` : null}
    ${items.length ? null : html`<p class="quiet">${empty}</p>`}
  </div>`;
}

export function Flow({ flow, now, select }) {
  const { adapters, stages, sinks } = flow;
  const adapter = (a) => html`<${Card} key=${a.id} item=${a} select=${select}>
    <span>${a.protocol}</span>
    ${a.last_reading_at ? html`<span>last ${duration(now - Date.parse(a.last_reading_at) / 1000)}</span>` : html`<span>no reading yet</span>`}
    ${rejected(a.rejected, a.since, now)}
  <//>`;
  const stage = (s) => html`<${Card} key=${s.id} item=${s} select=${select}>
    <span>${rate(s.read_rate)} in</span><span>lag ${count(s.lag)}</span>
    ${rejected(s.refused, s.since, now)}
  <//>`;
  const sink = (s) => html`<${Card} key=${s.id} item=${s} select=${select}>
    <span>lag ${count(s.lag)}</span>
    ${s.catch_up_s ? html`<span>done in about ${duration(s.catch_up_s)}</span>` : null}
    ${rejected(s.refused, s.since, now)}
    ${s.latency_p50_ms == null ? null : html`<span title="from arrival at the gateway until stored, median and 99th percentile">${milliseconds(s.latency_p50_ms)} / ${milliseconds(s.latency_p99_ms)}</span>`}
    ${s.breaker && s.breaker.state !== "closed" ? html`<b>breaker ${s.breaker.state}</b>` : null}
  <//>`;
  return html`<section id="flow" aria-label="Flow">
    <h2>Flow</h2>
    <div class="flow">
      <${Lane} title="Adapters" items=${adapters} empty="No adapter is configured." card=${adapter} />
      <${Wire} perSecond=${sum(adapters, "rate")} />
      <${Lane} title="Stream and processing" items=${stages} empty="Nothing is processed." card=${stage} />
      <${Wire} perSecond=${sum(sinks, "rate")} />
      <${Lane} title="Sinks" items=${sinks} empty="No sink is configured; the stream keeps everything." card=${sink} />
    </div>
  </section>`;
}
