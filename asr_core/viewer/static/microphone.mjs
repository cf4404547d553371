// The microphone, sample for sample: nothing is filtered, and the last piece comes like all others.

const WORKLET = `
registerProcessor("pieces", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
});`;

const REASONS = {
  NotAllowedError: "The microphone was not allowed. Allow it in the address bar, then try again.",
  NotFoundError: "There is no microphone. Plug one in, then try again.",
  NotReadableError: "Another program holds the microphone. Close it, then try again.",
};

/** Why there is no microphone, in a sentence. */
export function reason(error) {
  if (!globalThis.isSecureContext) return "A browser gives the microphone only to pages on https or on this computer.";
  return REASONS[error?.name] ?? "The microphone cannot be used here. Try another browser, or upload a recording.";
}

/** Calls hear(samples) for every piece, a Float32Array at `rate` of the result. -> {rate, stop()} */
export async function listen(hear) {
  const voice = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio: voice });
  const context = new AudioContext();
  const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const pieces = new AudioWorkletNode(context, "pieces", { numberOfOutputs: 0 });
  pieces.port.onmessage = ({ data }) => hear(data);
  context.createMediaStreamSource(media).connect(pieces);
  return {
    rate: context.sampleRate,
    async stop() {
      media.getTracks().forEach((track) => track.stop());
      await context.close(); // pieces that were on their way have arrived
    },
  };
}

/** Float32Array pieces -> base64 of 16-bit samples, lowest byte first. */
export function packed(pieces) {
  const samples = new Int16Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) for (const value of piece) samples[at++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}
