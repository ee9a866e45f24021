// The newest value of each point, with its quality, age and short past.
import { html, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Spark, Status } from "./parts.mjs";
import { clock, count, duration, tone, typed, value } from "./words.mjs";

const ROWS_MAX = 200;

// What nobody reads any more is not GOOD, whatever it was last.
function outdated(v, adapters) {
  if (!adapters.size || v.quality === "BAD") return v;
  const own = adapters.get(v.adapter);
  if (own && own.status !== "FAILED") return v;
  const reason = own ? `its adapter ${v.adapter} is FAILED: nobody reads it` : `no adapter ${v.adapter} is configured any more`;
  return { ...v, quality: "STALE", reason, since: v.time };
}

export function Values({ values, adapters, terminal, now, leftOut, paused, pause }) {
  const [search, setSearch] = useState("");
  const [only, setOnly] = useState(false);
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (v) => (!only || tone(v.quality)) && words.every((w) => `${v.asset} ${v.parameter} ${v.quality} ${v.reason ?? ""}`.toLowerCase().includes(w));
  const byName = new Map(adapters.map((a) => [a.name, a]));
  const all = [...values.values()].map((v) => outdated(v, byName));
  const notGood = all.filter((v) => tone(v.quality)).length;
  const found = all.filter(fits).sort((a, b) => (a.key < b.key ? -1 : 1));
  return html`<section id="values" aria-label="Values">
    <h2>Values</h2>
    <div class="tools">
      <input id="search" type="search" placeholder="Search  ( / )" aria-label="Search values" value=${search} onInput=${(e) => setSearch(e.target.value)} />
      <button onClick=${pause} aria-pressed=${paused}>${paused ? "Go on" : "Pause"}</button>
      <label><input type="checkbox" checked=${only} onChange=${() => setOnly(!only)} /> only not GOOD${notGood ? ` (${count(notGood)})` : ""}</label>
      <span class="quiet">${found.length > ROWS_MAX ? `first ${ROWS_MAX} of ${count(found.length)} points; search for others` : `${count(found.length)} points`}${leftOut ? `; ${count(leftOut)} or more have no room here` : ""}</span>
      <span class="quiet">in a terminal: <code>${typed(terminal, "tail telemetry.clean")}</code></span>
    </div>
    <div class="sheet tall" tabindex="0" role="region" aria-label="Table of values">
      <table>
        <thead><tr><th>Asset</th><th>Parameter</th><th class="num">Value</th><th>Unit</th><th>Quality</th><th class="num">Age</th><th>Last minute</th></tr></thead>
        <tbody>
          ${found.slice(0, ROWS_MAX).map((v) => html`<tr key=${v.key}>
            <td class="id">${v.asset}</td><td class="id">${v.parameter}</td>
            <td class="num">${value(v.value)}</td><td class="quiet">${v.unit ?? ""}</td>
            <td class="quality"><${Status} status=${v.quality} />${tone(v.quality) ? html` <span class="quiet" title=${`since ${clock(v.since)}`}>for ${duration(now - v.since / 1e6)}</span>` : null}
              ${tone(v.quality) && v.reason ? html`<span class="why" title=${v.reason}>${v.reason}</span>` : null}</td>
            <td class="num" title=${clock(v.time)}>${duration(now - v.time / 1e6)}</td>
            <td><${Spark} points=${v.past} label=${`${v.parameter}, last minute`} /></td>
          </tr>`)}
        </tbody>
      </table>
      ${found.length ? null : html`<p class="empty">${values.size ? (only && !search ? "Every value is GOOD." : "Nothing fits the search.") : "No value has arrived yet."}</p>`}
    </div>
  </section>`;
}
