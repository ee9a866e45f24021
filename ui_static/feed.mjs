// What the gateway sends, as state of the page: one stream of server-sent events, opened again when it ends, and the figures of one component.
import { useEffect, useReducer, useRef, useState } from "./vendor/htm-preact-3.1.1.mjs";

const PAST_MAX = 60;
const AGAIN_AFTER_MS = 3000;
const FIGURES_EVERY_MS = 2000;
const ANSWER_WITHIN_MS = 5000;

const problemOf = (answer) => answer.json().then((p) => p.detail ?? `answered ${answer.status}`, () => `answered ${answer.status}`);

// A browser that is refused gives no reason and does not try again: ask once more, for the reason.
async function whyClosed() {
  const stop = new AbortController();
  const late = setTimeout(() => stop.abort(), ANSWER_WITHIN_MS);
  try {
    const answer = await fetch("api/v1/live", { method: "GET", signal: stop.signal });
    return answer.ok ? "" : await problemOf(answer);
  } catch {
    return "";
  } finally {
    clearTimeout(late);
    stop.abort();
  }
}

function keep(values, changed) {
  for (const v of changed) {
    const key = `${v.asset}\u0000${v.parameter}`;
    const past = values.get(key)?.past ?? [];
    past.push(typeof v.value === "boolean" ? Number(v.value) : v.value);
    values.set(key, { ...v, key, past: past.slice(-PAST_MAX) });
  }
}

// [the newest frame or null, values by point, why there is no connection ("" while there is one)]
export function useFeed(paused) {
  const values = useRef(new Map());
  const hold = useRef(paused);
  hold.current = paused;
  const [state, setState] = useState(null);
  const [trouble, setTrouble] = useState("");
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let source, again;
    const open = () => {
      source = new EventSource("api/v1/live");
      source.addEventListener("state", (e) => { setTrouble(""); setState({ ...JSON.parse(e.data), got: performance.now() }); });
      source.addEventListener("values", (e) => { if (!hold.current) keep(values.current, JSON.parse(e.data)); });
      source.addEventListener("error", async () => {
        source.close();
        clearTimeout(again);
        setTrouble((was) => was || "The connection to the gateway is lost");
        again = setTimeout(open, AGAIN_AFTER_MS);
        const why = await whyClosed();
        if (why) setTrouble(`The gateway refuses this page: ${why}`);
      });
    };
    open();
    const clock = setInterval(redraw, 1000);
    return () => { source.close(); clearTimeout(again); clearInterval(clock); };
  }, []);
  return [state, values.current, trouble];
}

// One component with its counters, gauges and facts; null until they have come.
export function useComponent(id) {
  const [node, setNode] = useState(null);
  useEffect(() => {
    setNode(null);
    if (!id) return;
    const stop = new AbortController();
    const ask = () => fetch(`api/v1/components/${id.split("/").map(encodeURIComponent).join("/")}`, { signal: stop.signal })
      .then((answer) => (answer.ok ? answer.json() : null))
      .then((told) => { if (told) setNode(told); })
      .catch(() => {}); // The stream of frames tells that the gateway is away.
    ask();
    const clock = setInterval(ask, FIGURES_EVERY_MS);
    return () => { stop.abort(); clearInterval(clock); };
  }, [id]);
  return node?.id === id ? node : null;
}
