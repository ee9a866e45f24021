// The page: one stream of server-sent events in, one tree of sections out. What is selected and the theme stand in the URL and the browser.
import { html, render, useEffect, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Drawer } from "./drawer.mjs";
import { useFeed } from "./feed.mjs";
import { Flow } from "./flow.mjs";
import { Status } from "./parts.mjs";
import { Tree } from "./tree.mjs";
import { Values } from "./values.mjs";
import { clock, count, duration, milliseconds, rate, sentence, tone, typed } from "./words.mjs";

const STALE_AFTER_S = 5;
const PROBLEMS_MAX = 4;
const THEMES = ["auto", "light", "dark"];

function useSelected() {
  const read = () => decodeURIComponent(location.hash.match(/component=([^&]*)/)?.[1] ?? "");
  const [selected, setSelected] = useState(read());
  useEffect(() => {
    const changed = () => setSelected(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return [selected, (id) => { location.hash = id ? `component=${encodeURIComponent(id)}` : ""; }];
}

function useTheme() {
  const [theme, setTheme] = useState(localStorage.getItem("theme") ?? "auto");
  useEffect(() => {
    theme === "auto" ? delete document.documentElement.dataset.theme : (document.documentElement.dataset.theme = theme);
    localStorage.setItem("theme", theme);
  }, [theme]);
  return [theme, () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])];
}

function useKeys(select) {
  useEffect(() => {
    const pressed = (e) => {
      if (e.key === "/" && !/INPUT|TEXTAREA/.test(e.target.tagName)) {
        e.preventDefault();
        document.getElementById("search")?.focus();
      }
      if (e.key === "Escape") e.target.id === "search" ? e.target.blur() : select("");
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

const named = (node, name) => (node.children ?? []).reduce((n, c) => n + named(c, name), node.id.split("/").pop() === name ? 1 : 0);

const find = (node, id) => (node.id === id ? node : (node.children ?? []).map((c) => find(c, id)).find(Boolean));

// One line for each cause: what, for how long, what to do; of causes that share a step it stands once.
function Cause({ cause, now, step }) {
  return html`<span class="cause">${cause.said}${cause.since ? html` <span class="quiet" title=${clock(cause.since)}>for ${duration(now - cause.since / 1e6)}</span>` : null}
    ${step ? html`<span class="next">${step}</span>` : null}</span>`;
}

function Told({ problem, now }) {
  const { causes } = problem;
  if (!causes.length) return html`${problem.reason}<span class="next">${problem.next_step}</span>`;
  const steps = causes.map((c) => c.next_step ?? (causes.length === 1 ? problem.next_step : ""));
  return causes.map((c, at) => html`<${Cause} key=${c.said} cause=${c} now=${now} step=${steps.indexOf(steps[at]) === at ? steps[at] : ""} />`);
}

function Letters({ letters, now, select }) {
  if (!letters.length) return null;
  return html`<section id="letters" aria-label="Refused">
    <h2>Refused and kept as dead letters</h2>
    <ul class="letters">
      ${letters.map((l) => html`<li key=${l.component}>
        <button class="plain id" onClick=${() => select(l.component)}>${l.component.split("/").pop()}</button> <b>${count(l.count)}</b>
        ${l.since ? html`<span class="quiet"> in ${duration(now - l.since / 1e6)}</span>` : null}${l.reason ? html`; the newest${l.last_at ? html` <span title=${clock(l.last_at * 1e6)}>${now - l.last_at < 1 ? "now" : `${duration(now - l.last_at)} ago`}</span>` : null}: ${l.point ? html`<span class="id">${l.point}</span> ` : null}${l.reason}` : null}
        <span class="next">in a terminal: <code>${l.command}</code></span>
      </li>`)}
    </ul>
  </section>`;
}

// Components in the same trouble are one line, as all that wait for their turn to start.
function alike(problems) {
  const groups = new Map();
  for (const p of problems) {
    const key = JSON.stringify([p.status, p.reason?.replace(/since \d\d:\d\d:\d\d|tries again in [\d.]+ s/g, ""), p.next_step]);
    groups.has(key) ? groups.get(key).others.push(p.component) : groups.set(key, { ...p, others: [] });
  }
  return [...groups.values()];
}

function Problems({ problems: each, now, select }) {
  const [all, setAll] = useState(false);
  const problems = alike(each);
  if (!problems.length) return null;
  const shown = all ? problems : problems.slice(0, PROBLEMS_MAX);
  return html`<section class="trouble" aria-label="Problems">
    <ul class="problems" aria-live="polite">
      ${shown.map((p) => html`<li key=${p.component} class=${tone(p.status)}>
        <${Status} status=${p.status} /> <button class="plain id" onClick=${() => select(p.component)}>${p.component.split("/").pop()}</button>${p.others.length ? html` <span title=${p.others.join("\n")}>and ${count(p.others.length)} more</span>` : null}: <${Told} problem=${p} now=${now} />
      </li>`)}
    </ul>
    ${problems.length > PROBLEMS_MAX ? html`<button onClick=${() => setAll(!all)} aria-expanded=${all}>${all ? "Show fewer" : `Show all ${problems.length} problems`}</button>` : null}
  </section>`;
}

function Header({ state }) {
  const { adapters, sinks } = state.flow;
  const total = (items, key) => items.reduce((sum, item) => sum + (item[key] ?? 0), 0);
  const latency = sinks.map((s) => s.latency_p50_ms).filter((ms) => ms != null);
  return html`<header>
    <h1>${state.gateway.id}</h1><span class="quiet">${state.gateway.site ?? ""}</span>
    <span><${Status} status=${state.health.status} /> <span class="quiet">${sentence(state.health.status)}</span></span>
    <div class="figures">
      <div class="figure"><b>${rate(total(adapters, "rate"))}</b> <span>read</span></div>
      <div class="figure"><b>${rate(total(sinks, "readings_rate"))}</b> <span>stored</span></div>
      <div class="figure"><b>${count(sinks.some((s) => s.lag != null) ? total(sinks, "lag") : null)}</b> <span>waiting</span></div>
      <div class="figure"><b>${latency.length ? milliseconds(Math.max(...latency)) : "–"}</b> <span>late</span></div>
    </div>
  </header>`;
}

function App() {
  const [paused, setPaused] = useState(false);
  const [state, values, trouble] = useFeed(paused);
  const [selected, select] = useSelected();
  const [theme, nextTheme] = useTheme();
  useKeys(select);
  if (!state) return html`<p class="loading">${trouble || "Waiting for the gateway …"} On the gateway, the command <code>status</code> says more.</p>`;
  const now = state.at / 1e6 + (performance.now() - state.got) / 1000;
  const age = (performance.now() - state.got) / 1000;
  const stale = age > STALE_AFTER_S || trouble;
  const node = selected && state.tree ? find(state.tree, selected) : null;
  return html`<div class="layout ${node ? "drawn" : ""} ${stale ? "is-stale" : ""}">
    <nav aria-label="Sections">
      <h1>StreamForge</h1>
      <a href="#flow">Flow</a><a href="#values">Values</a><a href="#components">Components</a>
      <div class="foot">
        <button onClick=${nextTheme} aria-label="Theme">${theme}</button>
        <span>version ${state.version}</span>
      </div>
    </nav>
    <main>
      ${stale ? html`<p class="stale" role="alert">${trouble ? `${trouble}. ` : ""}The gateway has not answered for ${duration(age)}: what you see is that old. This page tries again by itself; in a terminal: <code>${typed(state.terminal, "status")}</code></p>` : null}
      <${Header} state=${state} />
      <${Problems} problems=${state.health.problems} now=${now} select=${select} />
      <${Flow} flow=${state.flow} now=${now} select=${select} />
      <${Letters} letters=${state.health.dead_letters} now=${now} select=${select} />
      <${Values} values=${values} adapters=${state.flow.adapters} terminal=${state.terminal} now=${now} leftOut=${state.points_left_out} paused=${paused} pause=${() => setPaused(!paused)} />
      ${state.tree ? html`<${Tree} tree=${state.tree} terminal=${state.terminal} now=${now} selected=${selected} select=${select} />` : null}
    </main>
    ${node ? html`<${Drawer} node=${node} twins=${named(state.tree, node.id.split("/").pop())} terminal=${state.terminal} close=${() => select("")} />` : null}
  </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
