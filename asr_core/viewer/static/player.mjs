// The recording's sound: its peaks for drawing, and spans of it played to the sample with WebAudio.

const PEAKS_PER_SECOND = 400;
const HEARD_RATE = 16000; // Hz: what the recognisers hear; a higher one would only fill the memory

/** The greatest absolute sample of every 2.5 ms, scaled so that the loudest is 1. */
export class Peaks {
  constructor(buffer) {
    const samples = buffer.getChannelData(0);
    const step = buffer.sampleRate / PEAKS_PER_SECOND;
    this.values = new Float32Array(Math.ceil(samples.length / step));
    let loudest = 1e-6;
    for (let i = 0; i < samples.length; i++) {
      const value = Math.abs(samples[i]);
      const at = Math.floor(i / step);
      if (value > this.values[at]) this.values[at] = value;
      if (value > loudest) loudest = value;
    }
    this.values.forEach((value, i) => (this.values[i] = value / loudest));
  }

  between(startS, endS) {
    const first = Math.floor(startS * PEAKS_PER_SECOND);
    const last = Math.max(first + 1, Math.floor(endS * PEAKS_PER_SECOND));
    let peak = 0;
    for (let i = first; i < last && i < this.values.length; i++) if (this.values[i] > peak) peak = this.values[i];
    return peak;
  }
}

export class Player {
  constructor(onChange) {
    this.onChange = onChange;
    this.rate = 1;
    this.source = null;
    this.playing = null; // {startS, endS, since, rate, whole}
  }

  /** Take another recording; `ready(buffer)` is called once it is decoded. Nothing plays until a person asks. */
  async load(url, ready) {
    this.stop();
    this.url = url;
    this.buffer = null;
    if (!url) return;
    const bytes = await (await fetch(url)).arrayBuffer();
    const decoder = new OfflineAudioContext(1, 1, HEARD_RATE); // decodes without the permission that playing needs
    const buffer = await decoder.decodeAudioData(bytes);
    if (url !== this.url) return; // another recording came while this one was loading
    this.buffer = buffer;
    ready(buffer);
    this.waiting?.();
  }

  /** Play [startS, endS); `whole`: the playback that letters follow. */
  play(startS, endS, whole = false) {
    this.stop();
    if (!this.buffer) {
      this.waiting = () => this.play(startS, endS, whole); // asked for before it was decoded
      return;
    }
    this.context ??= new AudioContext();
    this.context.resume();
    const source = this.context.createBufferSource();
    source.buffer = this.buffer;
    source.playbackRate.value = this.rate;
    source.connect(this.context.destination);
    source.onended = () => this.source === source && this.stop();
    source.start(0, startS, endS - startS);
    this.source = source;
    this.playing = { startS, endS, since: this.context.currentTime, rate: this.rate, whole };
    this.onChange();
  }

  stop() {
    const source = this.source;
    this.source = null;
    this.playing = null;
    this.waiting = null;
    source?.stop();
    this.onChange();
  }

  /** Seconds into the recording that are heard now, or null. */
  get cursorS() {
    if (!this.playing) return null;
    const { startS, endS, since, rate } = this.playing;
    return Math.min(startS + (this.context.currentTime - since) * rate, endS);
  }
}
