// The console: signing in, the navigation, and which page is shown.

import * as api from "./api.js";
import { ask, attempt, fill, h, head, s } from "./dom.js";
import { activity } from "./activity.js";
import { doors } from "./doors.js";
import { map } from "./map.js";
import { people } from "./people.js";
import { person } from "./person.js";
import { recognise } from "./recognise.js";
import { review } from "./review.js";
import { training } from "./training.js";

const PAGES = {
  people: ["People", "M8 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2 20c0-3.3 2.7-6 6-6s6 2.7 6 6M15.5 4.5a3.5 3.5 0 0 1 0 6.3M17 14.3c2.9.6 5 2.9 5 5.7"],
  recognise: ["Recognise", "M4 8V5.5C4 4.7 4.7 4 5.5 4H8M16 4h2.5c.8 0 1.5.7 1.5 1.5V8M20 16v2.5c0 .8-.7 1.5-1.5 1.5H16M8 20H5.5c-.8 0-1.5-.7-1.5-1.5V16M9 10v.5M15 10v.5M9 14.5c1.7 1.5 4.3 1.5 6 0"],
  training: ["Training", "M4 19V5M4 19h16M8 15l3.5-4 3 2.5L20 7"],
  map: ["Map", "M5 8a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0zM9.5 4.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0zM15 17a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0zM18.5 12.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0zM4 18a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0z"],
  review: ["Review", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.5M12 16.5h.01"],
  doors: ["Doors", "M6 21V4.5c0-.8.7-1.5 1.5-1.5h9c.8 0 1.5.7 1.5 1.5V21M3 21h18M14.5 12h.01"],
  activity: ["Activity", "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"],
};

const main = document.getElementById("main");
const side = document.getElementById("side");
const foot = document.getElementById("foot");
const picker = document.getElementById("dataset");
let left = [];
let turn = 0;

/** Shows the page that the address names; focus goes to its title, so that a screen reader begins there. */
async function show({ focus = true } = {}) {
  const mine = ++turn;
  left.forEach((leave) => leave());
  left = [];
  const [page, ...rest] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  const name = page in PAGES ? page : "people";
  for (const link of side.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const leaving = (then) => left.push(then);
  const refresh = () => show({ focus: false });
  const pages = {
    people: () => (rest[0] ? person(rest[0], refresh) : people()),
    recognise, training, map, review: () => review(refresh), doors: () => doors(leaving), activity,
  };
  let content;
  try {
    content = await pages[name]();
  } catch (error) {
    if (error.status === 401) return;
    content = [head(PAGES[name][0]), h("div.notice.bad", {}, h("p", {}, error.message))];
  }
  // Somebody went on before this page came.
  if (mine !== turn) return;
  fill(main, content);
  const title = main.querySelector("h1");
  document.title = title ? `${title.textContent} · Facelatch` : "Facelatch";
  if (focus) title?.focus({ preventScroll: true });
  if (focus) scrollTo(0, 0);
}

function signIn(message) {
  turn++;
  left.forEach((leave) => leave());
  left = [];
  side.hidden = foot.hidden = true;
  const token = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const error = h("p", { role: "alert" }, message ?? "");
  const form = h("form.stack", { onsubmit: async (event) => {
    event.preventDefault();
    fill(error);
    try {
      await api.post("/api/v1/session", { token: token.value });
      start();
    } catch (problem) {
      fill(error, problem.message);
      token.select();
    }
  } }, h("label.field", {}, h("span", {}, "Token"), token, h("small", {}, "Printed once, at the first start of facelatch serve. Lost? Start it with --new-token.")), error, h("button.primary", { type: "submit" }, "Sign in"));
  fill(main, h("div.centre", {}, h("p", {}, h("img", { src: "/assets/icon.svg", alt: "", width: 48, height: 48 })), h("h1", { tabindex: -1 }, "Facelatch"), h("p.lead", {}, "People, faces and doors of this workspace."), h("br"), form));
  document.title = "Sign in · Facelatch";
  token.focus();
}

async function start() {
  const { datasets } = await api.get("/api/v1/datasets");
  const names = datasets.map((dataset) => dataset.user);
  if (!names.includes(api.user())) names.push(api.user());
  fill(picker, names.map((name) => h("option", { value: name, selected: name === api.user() }, name)), h("option", { value: "" }, "New dataset…"));
  side.hidden = foot.hidden = false;
  show();
}

picker.addEventListener("change", async () => {
  const named = picker.value || (await ask({ title: "New dataset", text: "People and recogniser of its own, such as another building's.", fields: [{ name: "name", label: "User id", required: true, maxlength: 32, hint: "Letters, digits, dot, dash." }, { name: "person", label: "Its first person", required: true }], yes: "Make it" }));
  if (!named) return start();
  if (typeof named === "object") {
    const before = api.user();
    api.useDataset(named.name);
    const made = await attempt(() => api.post(api.of("/people"), { name: named.person }));
    if (!made) api.useDataset(before);
  } else api.useDataset(named);
  location.hash = "#/people";
  start();
});
document.getElementById("sign-out").addEventListener("click", async () => {
  await attempt(() => api.remove("/api/v1/session"));
  signIn();
});
api.whenSignedOut(() => signIn());
addEventListener("hashchange", () => {
  if (!side.hidden) show();
});

fill(document.getElementById("nav"), Object.entries(PAGES).map(([page, [title, path]]) => h("a", { href: `#/${page}`, "data-page": page },
  s("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, s("path", { d: path })), h("span", {}, title))));

// A link with the token signs in once, and leaves it out of the address.
const linked = location.hash.match(/^#token=(.+)$/);
if (linked) {
  history.replaceState(null, "", "/");
  api.post("/api/v1/session", { token: linked[1] }).then(start, (error) => signIn(error.message));
} else {
  start().catch((error) => {
    if (error.status !== 401) signIn(error.message);
  });
}
