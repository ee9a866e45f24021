// The small pieces every section uses: a status with shape and word, a sparkline, an arrow with its rate.
import { html } from "./vendor/htm-preact-3.1.1.mjs";
import { tone, rate } from "./words.mjs";

const SHAPES = {
  "": html`<circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.6" />`,
  warn: html`<path d="M6 1 11.5 11H.5Z" fill="currentColor" />`,
  bad: html`<path d="M1 1h10v10H1Z" fill="currentColor" />`,
};

export function Status({ status }) {
  const kind = tone(status);
  return html`<span class="status ${kind}"><svg viewBox="0 0 12 12" aria-hidden="true">${SHAPES[kind]}</svg>${status ?? "–"}</span>`;
}

export function Spark({ points, label }) {
  const numbers = points.filter((p) => typeof p === "number");
  if (numbers.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  const low = Math.min(...numbers);
  const span = Math.max(...numbers) - low || 1;
  const step = 108 / (points.length - 1);
  let path = "";
  points.forEach((p, i) => {
    if (typeof p === "number") path += `${path ? "L" : "M"}${(1 + i * step).toFixed(1)} ${(20 - ((p - low) / span) * 18).toFixed(1)}`;
  });
  return html`<svg class="spark" viewBox="0 0 110 22" role="img" aria-label=${label}><path d=${path} /></svg>`;
}

export function Wire({ perSecond }) {
  return html`<div class="wire ${perSecond > 0 ? "" : "idle"}">
    ${rate(perSecond)}
    <svg viewBox="0 0 74 12" preserveAspectRatio="none" aria-hidden="true"><path d="M0 6H66M60 2l7 4-7 4" fill="none" stroke="currentColor" /></svg>
  </div>`;
}
