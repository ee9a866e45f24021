// How figures, times and states are written; nothing here draws.
export const seconds = (micros) => micros / 1e6;

export function rate(perSecond) {
  if (perSecond == null) return "–";
  if (perSecond >= 1000) return `${(perSecond / 1000).toFixed(perSecond >= 10000 ? 0 : 1)} k/s`;
  return `${perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(1)} /s`;
}

export function count(n) {
  if (n == null) return "–";
  return Math.round(n).toLocaleString("en").replaceAll(",", " ");
}

export function duration(s) {
  if (s == null || Number.isNaN(s)) return "–";
  if (s < 1) return "now";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function milliseconds(ms) {
  if (ms == null) return "–";
  return ms >= 10000 ? `${(ms / 1000).toFixed(0)} s` : `${ms.toFixed(0)} ms`;
}

export function bytes(n) {
  if (n == null) return "–";
  return n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(1)} GiB` : `${(n / 2 ** 20).toFixed(0)} MiB`;
}

export function value(v) {
  if (v == null) return "–";
  if (typeof v !== "number") return String(v);
  const size = Math.abs(v);
  if (Number.isInteger(v) && size < 1e15) return count(v);
  return size >= 1e7 || size < 1e-3 ? v.toExponential(3) : v.toPrecision(6).replace(/\.?0+$/, "");
}

// A command as a person types it on the gateway; where it is started from, only the gateway knows.
export const typed = (terminal, words) => `${terminal.command} ${words}${terminal.data}`;

export const clock = (micros) => new Date(micros / 1000).toISOString().replace("T", " ").replace("Z", " UTC");

const TONES = { HEALTHY: "", GOOD: "", STARTING: "", finished: "", SUSPECT: "warn", UNCERTAIN: "warn", DEGRADED: "warn", UNHEALTHY: "bad", FAILED: "bad", BAD: "bad", STALE: "warn" };
export const tone = (status) => TONES[status] ?? "";

const SENTENCES = {
  HEALTHY: "Data is flowing.",
  STARTING: "Starting.",
  DEGRADED: "Running, but not everything works.",
  UNHEALTHY: "A part that everything needs does not work.",
};
export const sentence = (status) => SENTENCES[status] ?? "";
