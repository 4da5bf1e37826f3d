// The templates as points of a plane: who looks like whom to the network.

import * as api from "./api.js";
import { attempt, count, fill, h, head, s } from "./dom.js";

// Told apart also by those who see fewer colours (Okabe and Ito), then by shape.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7ae6", "#7f8c3d"];
const NOBODY = "#8a877f";
const [W, H, MARGIN] = [900, 560, 40];

export async function map() {
  const place = h("div", { "aria-live": "polite" });
  const methods = [["pca", "Principal components"], ["tsne", "Neighbours"]];
  const buttons = methods.map(([method, label]) => h("button", { type: "button", "aria-pressed": "false", onclick: () => choose(method) }, label));
  const choose = (method) => attempt(async () => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", methods[i][0] === method));
    fill(place, h("p.soft", {}, "Laying out…"));
    const [made, name] = await Promise.all([api.get(`${api.of("/map")}?method=${method}`), api.names()]);
    fill(place, made.points.length < 2 ? h("div.empty", {}, h("p", {}, "There is a map once two photos are trained.")) : draw(made, name));
  });
  choose("pca");
  return [head("Map", "Every template as a point, by principal components or by t-SNE. Photos of one person should lie together, and apart from everybody else's.",
    h("div.segmented", { role: "group", "aria-label": "Layout" }, buttons)), place];
}

function draw({ points, templates }, name) {
  const people = [...new Set(points.map((point) => point.person))];
  const known = people.filter((person) => person !== "none");
  const colour = (person) => (person === "none" ? NOBODY : COLOURS[known.indexOf(person) % COLOURS.length]);
  const scale = (axis, length) => {
    const all = points.map((point) => point[axis]);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return (value) => MARGIN + ((value - low) / (high - low || 1)) * (length - 2 * MARGIN);
  };
  const [x, y] = [scale("x", W), scale("y", H)];
  const dots = points.map((point) => s("circle", { cx: x(point.x), cy: y(point.y), r: 7, fill: colour(point.person) },
    s("title", {}, `${name(point.person)}: ${point.origin}`)));
  const text = `${count(points.length, "template", "templates")} of ${count(people.length, "person", "people")} as points`;
  return [s("svg.map", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": text }, dots),
    h("ul.legend", {}, people.map((person) => h("li", {}, s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("circle", { cx: 5, cy: 5, r: 5, fill: colour(person) })),
      person === "none" ? "not to be let in" : name(person)))),
    templates > points.length ? h("p.soft.small", {}, `${points.length} of ${templates} templates are shown.`) : null].filter(Boolean);
}
