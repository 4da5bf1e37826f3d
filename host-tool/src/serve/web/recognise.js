// Who is in a photo: dropped here, judged as a door would, drawn over.

import * as api from "./api.js";
import { attempt, count, dropZone, fill, h, head, percent } from "./dom.js";
import { overlay } from "./faces.js";

export async function recognise() {
  const result = h("div", { "aria-live": "polite", id: "result" });
  const keep = h("input", { type: "checkbox", checked: true, id: "keep" });
  const tag = h("input", { type: "checkbox", id: "tag" });
  const name = await api.names();
  const take = ([file]) => attempt(async () => {
    fill(result, h("p.soft", {}, "Looking…"));
    const query = new URLSearchParams({ all_predictions: "true", keep_unknown: keep.checked, tagged: tag.checked });
    try {
      const predicted = await api.post(`${api.of("/predict")}?${query}`, api.photos([file]));
      fill(result, show(file, predicted, name));
    } catch (error) {
      fill(result);
      throw error;
    }
  });
  return [head("Recognise", "Who is in a photo? Every face is judged by the rule a door uses; one photo counts as one glance."),
    h("div.stack", {}, dropZone({ text: "Drop a photo here.", label: "Choose a photo", multiple: false, take }),
      h("label.check", {}, keep, h("span", {}, "Keep unknown faces for ", h("a", { href: "#/review" }, "review"))),
      h("label.check", {}, tag, h("span", {}, "Keep the picture with names drawn in"))),
    h("br"), result];
}

function show(file, predicted, name) {
  const url = URL.createObjectURL(file);
  const image = h("img", { src: url, alt: `The photo, with ${count(predicted.faces.length, "face", "faces")}`, onload: () => URL.revokeObjectURL(url) });
  const scene = h("div.scene", {}, image, overlay(predicted.size, predicted.faces, (face) => ({
    kind: face.label ? "known" : "stranger", text: face.label ? name(face.label) : "unknown" })));
  const more = [
    predicted.kept_unknown ? h("p.small", {}, h("a", { href: "#/review" }, `${count(predicted.kept_unknown, "face", "faces")} kept for review`)) : null,
    predicted.tagged ? h("p.small", {}, h("a", { href: predicted.tagged, target: "_blank", rel: "noopener" }, "Picture with names")) : null];
  return h("div.columns", {}, scene, h("div", {},
    predicted.faces.length ? h("ul.found", {}, predicted.faces.map((face) => row(face, name))) : h("p", {}, "No face in this photo."), more));
}

function row(face, name) {
  const words = face.label ? "recognised" : face.reason.replaceAll("-", " ");
  const near = face.nearest ? `nearest ${name(face.nearest)}, distance ${face.distance.toFixed(2)}` : "";
  return h("li", {}, h("h2.item", {}, h("span", {}, face.label ? name(face.label) : "Unknown")),
    h("span.soft.small", {}, [words, near].filter(Boolean).join(" · ")),
    face.all_predictions.slice(0, 4).map((one) => h("div.bar", {}, h("span", {}, name(one.label)),
      h("progress", { max: 1, value: one.confidence, "aria-label": `Probability of ${name(one.label)}` }), h("span.num", {}, percent(one.confidence)))));
}
