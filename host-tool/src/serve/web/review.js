// Faces nobody recognised: who they are, or that they are not to be let in.

import * as api from "./api.js";
import { attempt, count, h, head, moment, say } from "./dom.js";

export async function review(refresh) {
  const [{ clusters }, { people }] = await Promise.all([api.get(api.of("/unknown")), api.get(api.of("/people"))]);
  const names = h("datalist", { id: "people" }, people.map((person) => h("option", { value: person.person }, person.name)));
  const faces = clusters.reduce((sum, cluster) => sum + cluster.faces.length, 0);
  const lead = "Faces that were not recognised, in groups that look like one person. Say who they are, or that they must not be let in.";
  if (!faces) {
    return [head("Review", lead), h("div.empty", {}, h("p", {}, "No unknown faces are waiting."), h("p.small", {}, "Recognise keeps them here when asked to."), h("a.button", { href: "#/recognise" }, "Recognise a photo"))];
  }
  return [head("Review", lead), names, clusters.map((cluster, i) => group(cluster, i, people, refresh))];
}

function group(cluster, index, people, refresh) {
  const title = `Group ${index + 1}, ${count(cluster.faces.length, "face", "faces")}`;
  const boxes = cluster.faces.map((face) => h("input", { type: "checkbox", value: face.id, checked: true, "aria-label": `Face seen ${moment(face.unix_ms)}` }));
  const nearest = cluster.faces[0].nearest;
  const person = h("input", { list: "people", name: "person", autocomplete: "off", placeholder: "id of a person", maxlength: 32 });
  const decide = (decision) => attempt(async () => {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    if (!chosen.length) throw new Error("Choose at least one face.");
    if (decision === "assign" && !person.value) {
      person.focus();
      throw new Error("Say whose faces these are.");
    }
    const done = await api.post(api.of("/unknown"), { faces: chosen, decision, person: decision === "assign" ? person.value : null });
    for (const refused of done.refused) say(`Not used: ${refused.why}.`, "bad");
    if (done.done) say(`${count(done.done, "face", "faces")} done.${decision === "forget" ? "" : " Train to make it count."}`);
    refresh();
  });
  return h("section.cluster", { "aria-label": title }, h("div.row", {}, h("h2.item", {}, title),
    nearest ? h("span.soft.small", {}, `most like ${people.find((one) => one.person === nearest)?.name ?? nearest}, distance ${cluster.faces[0].distance.toFixed(2)}`) : null),
    h("ul.faces", {}, cluster.faces.map((face, i) => h("li", {}, h("label", {}, boxes[i], h("img", { src: api.of(`/unknown/${face.id}`), alt: "", loading: "lazy" }))))),
    h("div.assign", {}, h("label.field", {}, h("span", {}, "This is"), person),
      h("button.primary", { type: "button", onclick: () => decide("assign") }, "Assign"),
      h("button", { type: "button", onclick: () => decide("ignore") }, "Never let in"),
      h("button.quiet", { type: "button", onclick: () => decide("forget") }, "Forget")));
}
