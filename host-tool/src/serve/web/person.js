// One person: their photos, and enrolling by dropping photos or before the camera.

import * as api from "./api.js";
import { ask, attempt, count, dropZone, fill, h, head, say } from "./dom.js";
import { camera } from "./camera.js";
import { trainNotice } from "./training.js";

export async function person(id, refresh) {
  const isNone = id === "none";
  const [{ people, none }, summary] = await Promise.all([api.get(api.of("/people")), api.get(api.of(""))]);
  const shown = isNone ? none : people.find((one) => one.person === id);
  if (!shown) return [head("Nobody", `There is no person ${id} here.`), h("p", {}, h("a", { href: "#/people" }, "All people"))];
  const name = isNone ? "Not to be let in" : shown.name;
  const photosUrl = api.of(`/people/${id}/photos`);
  const answers = h("ul.answers", { "aria-live": "polite", "aria-label": "What became of the photos" });
  const grid = h("ul.photos", { "aria-label": `Photos of ${name}` });
  const notice = h("div", {}, trainNotice(summary));

  const show = (photos) => fill(grid, photos.map((photo) => h("li", {},
    h("a", { href: api.photoUrl(id, photo, false), target: "_blank", rel: "noopener" }, h("img", { src: api.photoUrl(id, photo), alt: `Photo of ${name}`, loading: "lazy" })),
    h("button", { type: "button", "aria-label": "Remove this photo", onclick: () => removePhoto(photo) }, "×"))));
  const again = async () => {
    show((await api.get(photosUrl)).photos);
    fill(notice, trainNotice(await api.get(api.of(""))));
  };
  const removePhoto = async (photo) => {
    if (await ask({ title: "Remove this photo?", text: "Its template goes with it.", yes: "Remove", danger: true })) {
      await attempt(async () => {
        await api.remove(`${photosUrl}/${photo}`);
        await again();
      });
    }
  };
  const upload = (files) => attempt(async () => {
    fill(answers, h("li", {}, h("span.soft", {}, `Looking at ${count(files.length, "photo", "photos")}…`)));
    const created = await api.post(photosUrl, api.photos(files));
    fill(answers, created.photos.map(answer));
    await again();
    return created.photos.at(-1);
  });

  const rename = async () => {
    const named = await ask({ title: "Rename", fields: [{ name: "name", label: "Name", value: shown.name, required: true }], yes: "Save" });
    if (named) await attempt(async () => { await api.put(api.of(`/people/${id}`), { name: named.name }); refresh(); });
  };
  const removeAll = async () => {
    const sure = await ask({ title: `Remove ${name}?`, text: "All photos and templates are deleted. Doors know the person until the next push.", yes: "Remove", danger: true });
    if (sure) await attempt(async () => { await api.remove(api.of(`/people/${id}`)); say(`${name} was removed.`); location.hash = "#/people"; });
  };

  show(shown.photos);
  const lead = isNone ? "People who are never let in. Their photos make the recogniser more careful." : `${id} · ${count(shown.templates, "template", "templates")}`;
  const zone = dropZone({
    text: isNone ? "Drop photos of strangers here." : "Drop photos here: three to ten, in different light. One face each.",
    label: "Choose photos",
    take: upload,
    more: isNone ? [] : [h("button", { type: "button", onclick: () => camera(name, async (file) => (await upload([file])) ?? null) }, "Use the camera")],
  });
  return [h("p.small", {}, h("a", { href: "#/people" }, "← People")),
    isNone ? head(name, lead) : head(name, lead, h("button.quiet", { type: "button", onclick: rename }, "Rename"), h("button.quiet.danger", { type: "button", onclick: removeAll }, "Remove")),
    notice, zone, answers, h("h2", {}, "Photos"), shown.photos.length ? null : h("p.soft.small", {}, "What is accepted appears here."), grid].filter(Boolean);
}

function answer(photo) {
  const hint = photo.accepted && photo.face?.hint ? `Accepted, though: ${photo.face.hint}.` : "Accepted.";
  return h("li", {}, h(photo.accepted ? "span.dot.good" : "span.dot.bad", { "aria-hidden": "true" }),
    h("span.file", {}, photo.file || "photo"), h("span.soft", {}, photo.accepted ? hint : `Not accepted: ${photo.why}.`));
}
