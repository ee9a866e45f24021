// The page: one stream of server-sent events in, one tree of sections out. What is selected and the theme stand in the URL and the browser.
import { html, render, useEffect, useReducer, useRef, useState } from "./vendor/htm-preact-3.1.1.mjs";
import { Drawer } from "./drawer.mjs";
import { Flow } from "./flow.mjs";
import { Status } from "./parts.mjs";
import { Tree } from "./tree.mjs";
import { Values } from "./values.mjs";
import { count, duration, milliseconds, rate, sentence, tone } from "./words.mjs";

const STALE_AFTER_S = 5;
const PAST_MAX = 60;
const THEMES = ["auto", "light", "dark"];

function useFeed(paused) {
  const values = useRef(new Map());
  const hold = useRef(paused);
  hold.current = paused;
  const [state, setState] = useState(null);
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const source = new EventSource("api/v1/live");
    source.addEventListener("state", (e) => setState({ ...JSON.parse(e.data), got: performance.now() }));
    source.addEventListener("values", (e) => {
      if (hold.current) return;
      for (const v of JSON.parse(e.data)) {
        const key = `${v.asset}\u0000${v.parameter}`;
        const past = values.current.get(key)?.past ?? [];
        past.push(typeof v.value === "boolean" ? Number(v.value) : v.value);
        values.current.set(key, { ...v, key, past: past.slice(-PAST_MAX) });
      }
    });
    const clock = setInterval(redraw, 1000);
    return () => { source.close(); clearInterval(clock); };
  }, []);
  return [state, values.current];
}

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

const find = (node, id) => (node.id === id ? node : (node.children ?? []).map((c) => find(c, id)).find(Boolean));

function Problems({ problems }) {
  if (!problems.length) return null;
  return html`<ul class="problems" aria-live="polite" aria-label="Problems">
    ${problems.map((p) => html`<li key=${p.component} class=${tone(p.status)}>
      <${Status} status=${p.status} /> <span class="id">${p.component.split("/").pop()}</span>: ${p.reason}
      <span class="next">${p.next_step}</span>
    </li>`)}
  </ul>`;
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
      <div class="figure"><b>${count(total(sinks, "lag"))}</b> <span>waiting</span></div>
      <div class="figure"><b>${latency.length ? milliseconds(Math.max(...latency)) : "–"}</b> <span>late</span></div>
    </div>
  </header>`;
}

function App() {
  const [paused, setPaused] = useState(false);
  const [state, values] = useFeed(paused);
  const [selected, select] = useSelected();
  const [theme, nextTheme] = useTheme();
  useKeys(select);
  if (!state) return html`<p class="loading">Waiting for the gateway … in a terminal: <code>streamforge status</code></p>`;
  const now = state.at / 1e6 + (performance.now() - state.got) / 1000;
  const age = (performance.now() - state.got) / 1000;
  const stale = age > STALE_AFTER_S;
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
      ${stale ? html`<p class="stale" role="alert">The gateway has not answered for ${duration(age)}. What you see is that old.</p>` : null}
      <${Header} state=${state} />
      <${Problems} problems=${state.health.problems} />
      <${Flow} flow=${state.flow} now=${now} select=${select} />
      <${Values} values=${values} now=${now} paused=${paused} pause=${() => setPaused(!paused)} />
      ${state.tree ? html`<${Tree} tree=${state.tree} now=${now} selected=${selected} select=${select} />` : null}
    </main>
    ${node ? html`<${Drawer} node=${node} close=${() => select("")} />` : null}
  </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
