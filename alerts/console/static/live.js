// The stream of events, and what the reader must know about it: whether what is shown is live.

import { clockTime, signalWords, span } from "./format.js";
import { setText } from "./elements.js";
import { station } from "./station.js";
import { messageOf, t } from "./words.js";

const SILENCE_MS = 7000;
const REOPEN_MS = 1500;
const OLD_DATA_S = 45;

/** The server's clock as this page knows it (Unix seconds); the offset is the smallest seen, hence the nearest. */
export const serverClock = {
  offset: null,
  learn(now) {
    const offset = Date.now() / 1000 - now;
    if (this.offset === null || offset < this.offset) this.offset = offset;
  },
  now() {
    return Date.now() / 1000 - (this.offset ?? 0);
  },
};

/**
 * Opens /events and keeps it open. `handlers` has reset(rows), rows(rows) and alert(alert). The connection's state
 * stands in body[data-connection] and in the banner; it is "live" only while events arrive.
 */
export class Live {
  constructor(query, handlers) {
    this.query = query;
    this.handlers = handlers;
    this.lastId = "";
    this.lastEvent = 0;
    this.asOf = null;
    this.status = { kafka: true, loaded: false, newest_at: 0 };
    this.opened = false;
    this.state = "connecting";
    this.open();
    setInterval(() => this.watch(), 1000);
    this.show();
  }

  open() {
    this.source?.close();
    const query = new URLSearchParams(this.query);
    if (station()) query.set("station", station());
    if (this.lastId) query.set("after", this.lastId);
    const source = new EventSource(`/events?${query}`);
    this.source = source;
    this.openedAt = Date.now();
    const on = (kind, act) =>
      source.addEventListener(kind, (event) => {
        if (this.source !== source) return;
        this.lastEvent = Date.now();
        if (event.lastEventId) this.lastId = event.lastEventId;
        act(JSON.parse(event.data));
        this.update("live");
      });
    on("status", (status) => {
      serverClock.learn(status.now);
      this.status = status;
      this.asOf = status.now;
    });
    on("reset", (body) => {
      serverClock.learn(body.now);
      this.opened = true;
      this.handlers.reset(body.rows);
    });
    on("rows", (body) => this.handlers.rows(body.rows));
    on("alert", (alert) => this.handlers.alert(alert));
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      this.update("lost");
      if (source.readyState === EventSource.CLOSED) this.reopenLater();
    });
  }

  reopenLater() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      const answer = await fetch("/api/signals", { cache: "no-store" }).catch(() => null);
      if (answer?.status === 401) location.assign("/login");
      else this.open();
    }, REOPEN_MS);
  }

  watch() {
    const silentFor = Date.now() - Math.max(this.lastEvent, this.openedAt);
    if (silentFor > SILENCE_MS) {
      this.update("lost");
      this.open();
    }
    this.show();
  }

  update(state) {
    this.state = state;
    this.show();
  }

  /** What to tell the reader: [state, pill text, banner text]. */
  verdict() {
    const asOf = this.asOf === null ? "" : clockTime(this.asOf);
    if (this.state === "lost") {
      const values = this.opened ? t("What you see is as of {asOf} and is not being updated.", { asOf }) : t("Nothing has been received yet.");
      return ["lost", asOf ? t("Reconnecting, data as of {asOf}", { asOf }) : t("Reconnecting"), t("Connection lost. {values} Reconnecting …", { values })];
    }
    if (this.state === "connecting" || !this.opened) {
      if (this.status.kafka === false) {
        return ["source", t("No data source"), t("The data source does not answer. The console goes on by itself when it does.")];
      }
      return ["connecting", t("Connecting"), ""];
    }
    if (!this.status.kafka) {
      const newest = this.status.newest_at ? t("The newest data are from {time}.", { time: clockTime(this.status.newest_at) }) : "";
      return ["source", t("No data source"), t("The data source does not answer; nothing new can be shown. {newest}", { newest })];
    }
    const age = this.status.newest_at ? serverClock.now() - this.status.newest_at : 0;
    if (age > OLD_DATA_S) {
      return ["old", t("No new data for {span}", { span: span(age) }), t("Connected, but nothing new has come in since {time}.", { time: clockTime(this.status.newest_at) })];
    }
    return ["live", t("Live, {time}", { time: clockTime(serverClock.now()) }), ""];
  }

  show() {
    const [state, pill, banner] = this.verdict();
    document.body.dataset.connection = state;
    setText(document.getElementById("connection-text"), pill);
    setText(document.getElementById("banner-text"), banner);
    document.getElementById("banner").hidden = !banner;
    // Said once when it changes, not at every tick of the clock.
    if (state !== this.said) {
      if (this.said !== undefined) {
        const words = state === "live" ? t("Connection is live.") : banner;
        if (words) announce(words, state === "live" ? "polite" : "assertive");
      }
      this.said = state;
    }
  }
}

/** Speaks through a live region: "assertive" interrupts, "polite" waits. */
export function announce(text, manner) {
  const region = document.getElementById(manner === "assertive" ? "say-now" : "say-later");
  const line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > 5) region.firstElementChild.remove();
}

/** Speaks an alert's news: high priority interrupts. Repeats of the same transition are silent. */
const spokenAlerts = new Set();
export function announceAlert(alert, who, words) {
  const open = alert.transition === "onset" || alert.transition === "withdrawn" || alert.transition === "clear";
  const key = `${alert.provenance?.announced_id || alert.id} ${alert.transition}`;
  if (!open || spokenAlerts.has(key)) return;
  spokenAlerts.add(key);
  const stage = alert.stage === "provisional" && alert.transition === "onset" ? ` ${t("Provisional.")}` : "";
  const ending = { clear: t("Cleared:"), withdrawn: t("Withdrawn:") }[alert.transition];
  const urgent = alert.priority === "high" && alert.transition === "onset";
  const about = t("{priority} priority, {who}.", { priority: words[alert.priority], who });
  announce(`${[about, ending, messageOf(alert)].filter(Boolean).join(" ")}${stage}`, urgent ? "assertive" : "polite");
}

/** Speaks what became of alerts' signals since the row was last seen; what is heard anew, and escalations, interrupt. */
export function announceSignals(before, row, who) {
  if (!before) return;
  const known = new Map(before.alerts.map((alert) => [alert.id, alert.signal?.sequence]));
  for (const alert of row.alerts) {
    if (!alert.signal || alert.signal.event.startsWith("marked_") || !known.has(alert.id) || known.get(alert.id) === alert.signal.sequence) continue;
    const urgent = ["escalation_due", "re_alarm_due", "inactivation_expired", "priority_raised"].includes(alert.signal.event);
    announce(`${who}. ${messageOf(alert)} ${signalWords(alert.signal)}.`, urgent && alert.priority === "high" ? "assertive" : "polite");
  }
}
