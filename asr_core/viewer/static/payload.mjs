// The payload of asr_core/viewer/payload.py -> typed arrays. The only file that knows how numbers travel.

async function unpack(text, Type) {
  const compressed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Type(await new Response(stream).arrayBuffer());
}

async function unpackSpans(columns) {
  const [first, last, startS, endS, score] = await Promise.all([
    unpack(columns.first, Uint32Array),
    unpack(columns.last, Uint32Array),
    unpack(columns.start_s, Float32Array),
    unpack(columns.end_s, Float32Array),
    unpack(columns.score, Uint8Array),
  ]);
  return columns.labels.map((label, i) => ({
    label, first: first[i], last: last[i], startS: startS[i], endS: endS[i], score: score[i] / 255,
  }));
}

/** -> {durationS, frames, frameS, labels, blank, posteriors (T' * V), mel, path (T'), tokens, words, audioUrl} */
export async function decode(payload) {
  const [posteriors, mel, path, tokens, words] = await Promise.all([
    unpack(payload.posteriors, Uint8Array),
    unpack(payload.mel.values, Uint8Array),
    unpack(payload.argmax, Uint16Array),
    unpackSpans(payload.tokens),
    unpackSpans(payload.words),
  ]);
  return {
    durationS: payload.duration_s,
    frames: payload.frames,
    frameS: payload.frame_s,
    labels: payload.labels,
    blank: payload.blank,
    scoreDefinition: payload.score,
    posteriors,
    mel: { frames: payload.mel.frames, bins: payload.mel.bins, frameS: payload.mel.frame_s, values: mel },
    path, tokens, words,
    audioUrl: payload.audio?.url ?? null,
  };
}

/** Probability of a token in a frame; the payload holds its square root in 255ths. */
export function probability(result, frame, token) {
  const root = result.posteriors[frame * result.labels.length + token] / 255;
  return root * root;
}
