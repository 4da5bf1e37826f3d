// Everybody in the dataset, with their faces.

import * as api from "./api.js";
import { ask, attempt, count, h, head, say } from "./dom.js";
import { trainNotice } from "./training.js";

export async function people() {
  const [{ people, none }, summary] = await Promise.all([api.get(api.of("/people")), api.get(api.of(""))]);
  const add = h("button.primary", { type: "button", onclick: addPerson }, "Add person");
  const lead = people.length ? `${count(people.length, "person", "people")} in ${summary.user}, ${count(summary.photos, "photo", "photos")}.` : "Nobody is enrolled yet.";
  const grid = h("ul.people", {}, people.map(card), card(none, true));
  return [head("People", lead, add), trainNotice(summary),
    people.length ? null : h("div.empty", {}, h("p", {}, "Add a person, then give three to ten photos of them, in different light."), h("button.primary", { type: "button", onclick: addPerson }, "Add the first person")),
    people.length ? grid : h("div", {}, h("h2", {}, "Not to be let in"), h("ul.people", {}, card(none, true)))].filter(Boolean);
}

function card(person, isNone = false) {
  const name = isNone === true ? "Not to be let in" : person.name;
  const face = person.photos.length
    ? h("img", { src: api.photoUrl(person.person, person.photos[0]), alt: "", loading: "lazy" })
    : h("span", { "aria-hidden": "true" }, isNone === true ? "–" : initials(name));
  const words = person.photos.length ? count(person.photos.length, "photo", "photos")
    : person.templates ? `${count(person.templates, "template", "templates")}, no photo here` : "no photos";
  const waiting = person.untrained > 0;
  return h("li", {}, h("a", { href: `#/people/${person.person}` },
    h("div.portrait", {}, face), h("strong", {}, name),
    h("span.meta", {}, h(waiting ? "span.dot.warn" : person.templates ? "span.dot.good" : "span.dot", { "aria-hidden": "true" }), words, waiting ? " · to be trained" : "")));
}

const initials = (name) => name.split(/\s+/).slice(0, 2).map((word) => word.charAt(0).toUpperCase()).join("");

async function addPerson() {
  const named = await ask({ title: "Add a person", fields: [{ name: "name", label: "Name", required: true }], yes: "Add" });
  if (!named) return;
  await attempt(async () => {
    const added = await api.post(api.of("/people"), { name: named.name });
    say(`${added.name} was added.`);
    location.hash = `#/people/${added.person}`;
  });
}
