// From the sources to the destinations, with what passes each hop now.
import { html } from "./vendor/htm-preact-3.1.1.mjs";
import { Wire } from "./parts.mjs";
import { count, duration, milliseconds, rate, tone } from "./words.mjs";

const sum = (items, key) => items.reduce((total, item) => total + (item[key] ?? 0), 0);

function Card({ item, select, children }) {
  const kind = tone(item.status);
  return html`<button class="card ${kind}" onClick=${() => select(item.id)} title=${item.reason ?? item.id}>
    <span class="top"><span class="name">${item.name}</span><span class="rate">${rate(item.rate)}</span></span>
    <span class="under">${kind ? html`<b>${item.status}</b>` : null}${children}</span>
  </button>`;
}

export function Flow({ flow, now, select }) {
  const { adapters, stages, sinks } = flow;
  const raw = sum(adapters, "rate");
  return html`<section id="flow" aria-label="Flow">
    <h2>Flow</h2>
    <div class="flow">
      <div class="lane">
        <h3>Adapters</h3>
        ${adapters.map((a) => html`<${Card} key=${a.id} item=${a} select=${select}>
          <span>${a.protocol}</span>
          ${a.last_reading_at ? html`<span>last ${duration(now - Date.parse(a.last_reading_at) / 1000)}</span>` : html`<span>no reading yet</span>`}
          ${a.rejected ? html`<span>${count(a.rejected)} rejected</span>` : null}
        <//>`)}
        ${adapters.length ? null : html`<p class="quiet">No adapter is configured.</p>`}
      </div>
      <${Wire} perSecond=${raw} />
      <div class="lane">
        <h3>Stream and processing</h3>
        ${stages.map((s) => html`<${Card} key=${s.id} item=${s} select=${select}>
          <span>${rate(s.read_rate)} in</span><span>lag ${count(s.lag)}</span>
          ${s.refused ? html`<span>${count(s.refused)} rejected</span>` : null}
        <//>`)}
      </div>
      <${Wire} perSecond=${sum(sinks, "rate")} />
      <div class="lane">
        <h3>Sinks</h3>
        ${sinks.map((s) => html`<${Card} key=${s.id} item=${s} select=${select}>
          <span>lag ${count(s.lag)}</span>
          ${s.latency_p50_ms == null ? null : html`<span title="from the machine to the database, median and 99th percentile">${milliseconds(s.latency_p50_ms)} / ${milliseconds(s.latency_p99_ms)}</span>`}
          ${s.breaker && s.breaker.state !== "closed" ? html`<b>breaker ${s.breaker.state}</b>` : null}
        <//>`)}
        ${sinks.length ? null : html`<p class="quiet">No sink is configured; the stream keeps everything.</p>`}
      </div>
    </div>
  </section>`;
}
