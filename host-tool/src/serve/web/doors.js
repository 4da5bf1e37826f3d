// The doors: how they are, what happens at them as it happens, letting somebody in, lockdown, pushing people.

import * as api from "./api.js";
import { ask, attempt, doing, fill, h, head, say, time } from "./dom.js";
import { watch } from "./training.js";

const STATES = {
  locked: ["good", "Locked"], unlocked: ["warn", "Unlocked"], starting: ["", "Starting"], stopped: ["bad", "Stopped"], fault: ["bad", "Fault"],
  "locked-down": ["bad", "Lockdown"], fire: ["bad", "Fire: open"], "open-by-schedule": ["warn", "Open by schedule"], "held-open": ["bad", "Held open"], "forced-open": ["bad", "Forced open"],
};
/** Events shown of a door. */
const SHOWN = 100;
/** Doors listened to at a time: a browser keeps six connections to a server, and other requests need some. */
const LISTENING = 3;
/** How to stop listening to each, the longest listened to first. */
let listening = [];

export async function doors(leaving) {
  const [{ doors }, name] = await Promise.all([api.get("/api/v1/doors"), api.names()]);
  if (!doors.length) {
    return [head("Doors", "Let somebody in, see who came, and give doors the people they know."),
      h("div.empty", {}, h("p", {}, "This host is paired with no door."), h("p.small", {}, "Pair on the command line, with the code the door shows: ", h("code", {}, "facelatch pair --to HOST")))];
  }
  return [head("Doors", "Who asks to unlock is noted by name."), h("div.stack", {}, doors.map((one) => door(one, name, leaving)))];
}

function door(one, name, leaving) {
  const path = `/api/v1/doors/${one.key}`;
  const dot = h("span.dot", { "aria-hidden": "true" });
  const words = h("span", {}, "Asking…");
  const facts = h("dl.facts", {});
  const events = h("ul.events", { "aria-label": `Events at ${one.name}`, "aria-live": "polite", tabindex: 0 });
  const line = h("p.soft.small", { role: "status" });
  const progress = h("div", {});
  let relock;

  const state = (name, until) => {
    const [kind, text] = STATES[name] ?? ["", name];
    dot.className = `dot ${kind}`;
    fill(words, text);
    clearTimeout(relock);
    // The door tells when it locks again; should the line break, ask.
    if (until) relock = setTimeout(status, Math.max(0, until - Date.now()) + 1500);
  };
  const status = async () => {
    try {
      const told = await api.get(path);
      state(told.door, told.unlocked_until_unix_ms);
      fill(facts, [["People", told.people], ["Bundle", told.active ? `no. ${told.active.counter}` : "none yet"], ["Board", told.board], ["Software", told.software], ["This host", told.role],
        told.last_fault ? ["Last fault", told.last_fault.text] : null].filter(Boolean).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, String(value)))));
    } catch (error) {
      dot.className = "dot bad";
      fill(words, "Out of reach");
      fill(facts);
      fill(line, error.message);
    }
  };
  const latch = async (action, title, text, danger) => {
    const who = await ask({ title, text, fields: [{ name: "operator", label: "Your name", value: localStorage.getItem("operator") ?? "", required: true, hint: "Goes on the record." }], yes: title.replace("?", ""), danger });
    if (!who) return;
    localStorage.setItem("operator", who.operator);
    const done = await api.post(`${path}/${action}`, { operator: who.operator });
    state(done.door, done.unlocked_until_unix_ms);
    say(`${one.name}: ${(STATES[done.door]?.[1] ?? done.door).toLowerCase()}.`);
  };
  const push = async () => {
    const sure = await ask({ title: `Give ${one.name} these people?`, text: `The people of ${api.user()} go to the door, which tries them before it switches.`, yes: "Push" });
    if (!sure) return;
    try {
      const result = await watch(await api.post(`${path}/push?dataset=${encodeURIComponent(api.user())}`), progress);
      say(result.trial === "confirmed" ? `${one.name} knows everybody now.` : `${one.name}: ${result.trial}${result.why ? `, ${result.why}` : ""}.`, result.trial === "rolled-back" ? "bad" : "");
      status();
    } finally {
      fill(progress);
    }
  };

  const listen = h("button.quiet", { type: "button", hidden: true, onclick: () => open() }, "Listen");
  const open = () => {
    listen.hidden = true;
    fill(events);
    const source = new EventSource(`${path}/events`);
    source.addEventListener("event", (event) => {
      const told = JSON.parse(event.data);
      if (told.event === "door") state(told.door, told.until_unix_ms);
      events.prepend(h("li", {}, h("time", { datetime: new Date(told.unix_ms).toISOString() }, time(told.unix_ms)), h("span", {}, describe(told, name))));
      while (events.children.length > SHOWN) events.lastChild.remove();
    });
    source.addEventListener("line", (event) => {
      const told = JSON.parse(event.data);
      fill(line, told.connected ? (told.why ?? "Listening.") : `Not heard: ${told.why}`);
    });
    source.onerror = () => fill(line, "The server is not heard; trying again.");
    listening.push(() => {
      source.close();
      listen.hidden = false;
      fill(line, "Not listening.");
    });
    if (listening.length > LISTENING) listening.shift()();
  };
  leaving(() => {
    for (const close of listening) close();
    listening = [];
    clearTimeout(relock);
  });
  open();
  status();

  return h("article.door", { "aria-label": one.name }, h("div.door-head", {},
    h("div", {}, h("h2", {}, one.name), h("div.state", { role: "status" }, dot, words)),
    h("button.primary.unlock", { type: "button", onclick: doing(() => latch("unlock", "Unlock?", `Somebody will be let in at ${one.name}.`, false)) }, "Unlock")),
    facts, progress,
    h("div.row", {}, h("button", { type: "button", onclick: doing(push) }, "Push people"),
      h("button.danger", { type: "button", onclick: doing(() => latch("lockdown", "Begin lockdown?", "Nobody gets in until it is released; whoever is inside gets out.", true)) }, "Lockdown"),
      h("button", { type: "button", onclick: doing(() => latch("release", "Release?", "Whoever may pass gets in again.", false)) }, "Release")),
    h("div", {}, h("h3", {}, "Events"), h("div.row", {}, line, listen), events));
}

/** An event in words. */
function describe(told, name) {
  switch (told.event) {
    case "decision": return told.decision === "granted" ? `${name(told.person)} was let in` : `Somebody was not let in: ${told.reason.replaceAll("-", " ")}${told.person ? `, nearest ${name(told.person)}` : ""}`;
    case "door": return STATES[told.door]?.[1] ?? told.door;
    case "opened": return told.name ? `Unlocked by ${told.name}` : `Unlocked: ${told.by}`;
    case "lockdown": return `${told.on ? "Lockdown" : "Lockdown ended"} by ${told.name}`;
    case "update": return `Bundle ${told.step}`;
    case "rolled-back": return `Went back to the bundle before: ${told.text}`;
    case "fault": return `Fault: ${told.text}`;
    case "alarm": return `Alarm ${told.on ? "" : "over"}: ${told.alarm}`;
    case "missed": return `${told.count} events were not sent`;
    case "prompt": return `Asked to: ${told.prompt.replaceAll("-", " ")}`;
    case "enrollment": return `Enrollment: ${told.text}`;
    case "lockout": return `Lockout: ${told.text}`;
    case "duress": return `Duress: ${name(told.person)} was made to open`;
    case "passed-out": return `${name(told.person)} left`;
    default: return told.event;
  }
}
