// What happens, as server-sent events. The browser resumes by itself after a cut; this tells whether it is live.
import { address, token } from "./api.js";

const KINDS = ["run", "version", "deployment", "serving", "metrics", "drift", "request", "manage", "audit", "alert",
  "alert_action", "evidence", "quality", "snapshot", "letters", "services", "tick", "reset"];
const SILENT_MS = 9000; // a tick comes each 2 s: four in a row are missing
const HIDDEN_MS = 60_000; // a browser allows six connections to one server: a tab that nobody sees gives its own back
const AGAIN_MS = 2000;

class Live {
  constructor() {
    this.state = "connecting";
    this.handlers = new Map();
    this.source = null;
    this.cursor = null;
    this.heardAt = 0;
    this.hiddenSince = 0;
    this.behind = false;
  }

  /** Call `handler(event)` for each of these kinds; "state" is told when the connection changes. */
  on(kinds, handler) {
    for (const kind of [kinds].flat()) {
      if (!this.handlers.has(kind)) this.handlers.set(kind, []);
      this.handlers.get(kind).push(handler);
    }
  }

  /** Begin after this cursor, so that nothing between a page's data and its first event is missed. */
  start(cursor) {
    if (this.source) return;
    this.cursor ??= cursor ?? null;
    this.open();
    setInterval(() => this.check(), 1000);
    document.addEventListener("visibilitychange", () => this.seen());
    window.addEventListener("pagehide", () => this.source?.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.reopen());
  }

  open() {
    this.source = new EventSource(address("/api/events", { after: this.cursor, token: token() }));
    this.heardAt = Date.now();
    this.source.onopen = () => this.heard();
    this.source.onerror = () => this.become("reconnecting");
    for (const kind of KINDS) this.source.addEventListener(kind, (event) => this.take(kind, event));
  }

  take(kind, event) {
    this.heard();
    if (event.lastEventId) this.cursor = event.lastEventId;
    // A console that was started again answers while it still reads the log, and ticks when it has read it: load again then.
    if (kind === "tick" && this.behind) this.tell("reset", {});
    this.behind = kind === "reset" || (this.behind && kind !== "tick");
    this.tell(kind, JSON.parse(event.data));
  }

  heard() {
    this.heardAt = Date.now();
    if (this.state === "reconnecting") this.behind = true; // whatever was missed is loaded again, at the next tick
    this.become("live");
  }

  become(state) {
    if (this.state === state) return;
    const was = this.state;
    this.state = state;
    this.tell("state", { state, was });
  }

  tell(kind, event) {
    for (const handler of this.handlers.get(kind) ?? []) handler(event);
  }

  /** An EventSource gives up after an HTTP error, and a half-open connection says nothing: begin again then. */
  check() {
    const now = Date.now();
    if (document.hidden && this.hiddenSince && now - this.hiddenSince > HIDDEN_MS) {
      this.source.close();
      this.become("paused");
      return;
    }
    const closed = this.source.readyState === EventSource.CLOSED && now - this.heardAt > AGAIN_MS;
    if (closed || now - this.heardAt > SILENT_MS) {
      this.become("reconnecting");
      this.reopen();
    }
  }

  reopen() {
    this.source.close();
    this.open();
  }

  seen() {
    this.hiddenSince = document.hidden ? Date.now() : 0;
    if (!document.hidden && this.state === "paused") this.reopen();
  }
}

export const live = new Live();
