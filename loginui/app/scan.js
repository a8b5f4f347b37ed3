// QR codes by the camera: BarcodeDetector where the browser has it, else jsQR, loaded only then. What is read is ours (a sign-in, a
// pairing), a key for the key app, or nothing: no address is ever followed.

import { parse } from "./totp.js";

// meaning of what a QR code says.
export const meaning = (text, issuer) => {
  for (const what of ["scan", "pair"]) {
    const head = `${issuer}/app#${what}=`;
    if (text.startsWith(head)) return { [what]: text.slice(head.length) };
  }
  const otp = parse(text);
  return otp ? { otp } : null;
};

const detector = async (jsqr) => {
  if ("BarcodeDetector" in globalThis && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
    const d = new BarcodeDetector({ formats: ["qr_code"] });
    return async (canvas) => (await d.detect(canvas))[0]?.rawValue;
  }
  await import(jsqr); // makes self.jsQR
  return async (canvas, context) => {
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    return self.jsQR(data, width, height, { inversionAttempts: "dontInvert" })?.data;
  };
};

// watch shows the camera in the video and calls read(text) for each QR code seen until it returns true. It returns what stops it, and
// throws what getUserMedia throws.
export const watch = async (video, jsqr, read) => {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let over = false;
  const stop = () => {
    over = true;
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
  try {
    video.srcObject = stream;
    await video.play();
    const look = await detector(jsqr);
    const tick = async () => {
      if (over) return;
      if (video.videoWidth) {
        const scale = Math.min(1, 800 / video.videoWidth);
        canvas.width = video.videoWidth * scale;
        canvas.height = video.videoHeight * scale;
        context.drawImage(video, 0, 0, canvas.width, canvas.height);
        const text = await look(canvas, context).catch(() => "");
        if (text && !over && await read(text)) return stop();
      }
      setTimeout(tick, 150);
    };
    tick();
  } catch (failed) {
    stop();
    throw failed;
  }
  return stop;
};
