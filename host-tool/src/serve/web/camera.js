// Enrolling before the browser's camera: the picture, the faces the server finds in it, and what could be better.

import * as api from "./api.js";
import { fill, h, say } from "./dom.js";
import { overlay } from "./faces.js";

/** Longest side of what is sent for finding faces: enough to see them, quick to send. */
const LOOK_PX = 640;
/** Pause between two looks. */
const PAUSE_MS = 250;

/** Opens the camera; `take` is given each photo. Resolves when it is closed. */
export async function camera(name, take) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" }, audio: false });
  } catch {
    say("The browser gives no camera. It may be in use, refused, or the page not reached by localhost or HTTPS.", "bad");
    return;
  }
  const video = h("video", { autoplay: true, playsinline: true, muted: true, "aria-label": `Camera picture of ${name}` });
  video.muted = true;
  video.srcObject = stream;
  const scene = h("div.scene.mirrored", {}, video);
  const hint = h("p", { role: "status", "aria-live": "polite" }, "Starting the camera…");
  const taken = h("p.soft.small", { role: "status" });
  const shoot = h("button.primary", { type: "button", disabled: true }, "Take photo");
  const close = h("button", { type: "button" }, "Done");
  const dialog = h("dialog.wide", { "aria-label": `Photos of ${name}` },
    h("div.stack", {}, h("h2", {}, `Photos of ${name}`), scene, hint, h("div.row", {}, taken, close, shoot)));
  document.body.append(dialog);
  dialog.showModal();

  let photos = 0;
  shoot.addEventListener("click", async () => {
    shoot.disabled = true;
    const blob = await frame(video, Infinity);
    const answer = await take(new File([blob], `camera-${++photos}.jpg`, { type: "image/jpeg" }));
    taken.textContent = answer?.accepted ? `${photos} taken. Turn a little, or change the light, and take another.` : answer?.why ?? "";
    shoot.disabled = false;
  });
  close.addEventListener("click", () => dialog.close());
  const closed = new Promise((resolve) => dialog.addEventListener("close", resolve));
  let open = true;
  closed.then(() => (open = false));

  const look = async () => {
    while (open) {
      if (video.videoWidth > 0) {
        const blob = await frame(video, LOOK_PX);
        const found = await api.post("/api/v1/detect", blob, { headers: { "Content-Type": "image/jpeg" } }).catch(() => null);
        if (found && open) {
          scene.querySelector("svg")?.remove();
          scene.append(overlay(found.size, found.faces, (face) => ({ kind: face.hint ? "hint" : "fine", text: "" })));
          const words = judge(found.faces);
          if (hint.textContent !== words) fill(hint, words);
          shoot.disabled = found.faces.length === 0;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  look();
  await closed;
  stream.getTracks().forEach((track) => track.stop());
  dialog.remove();
}

function judge(faces) {
  if (faces.length === 0) return "No face in sight.";
  if (faces.length > 1) return "Several faces: one at a time.";
  const hint = faces[0].hint;
  return hint ? `${hint.charAt(0).toUpperCase()}${hint.slice(1)}.` : "Good: take the photo.";
}

function frame(video, longest) {
  const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
  const canvas = h("canvas", { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
