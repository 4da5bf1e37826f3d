// Faces drawn over a picture: boxes, landmarks and names, as SVG that scales with it.

import { s } from "./dom.js";

/** The overlay for faces of a picture of this size; `tell` gives each face its class and words. */
export function overlay([width, height], faces, tell) {
  const size = Math.max(width, height);
  const drawn = faces.map((face) => {
    const [x, y, w, h] = face.box;
    const { kind, text } = tell(face);
    const letters = size / 34;
    const above = y > letters * 1.6;
    return s(`g.${kind}`, {},
      s("rect", { x, y, width: w, height: h, rx: size / 150 }),
      face.landmarks.map(([cx, cy]) => s("circle", { cx, cy, r: size / 260 })),
      text ? s("text", { x: Math.max(x, 4), y: above ? y - letters * 0.5 : y + h + letters * 1.2, "font-size": letters, "stroke-width": letters / 6 }, text) : null);
  });
  return s("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, drawn);
}
