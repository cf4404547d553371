// Plays spans of the recording, to the sample, with WebAudio.

export class Player {
  constructor(onChange) {
    this.onChange = onChange;
    this.context = null;
    this.buffer = null;
    this.source = null;
    this.loading = null;
  }

  /** Forget the last recording; the next one is fetched when first played. */
  load(url) {
    this.stop();
    this.url = url;
    this.loading = null;
  }

  fetchBuffer() {
    this.context ??= new AudioContext();
    this.loading ??= fetch(this.url)
      .then((response) => response.arrayBuffer())
      .then((bytes) => this.context.decodeAudioData(bytes));
    return this.loading;
  }

  /** Play [startS, endS). */
  async play(startS, endS) {
    if (!this.url) return;
    this.stop();
    const url = this.url;
    const buffer = await this.fetchBuffer();
    await this.context.resume();
    if (url !== this.url) return; // another recording came while this one was loading
    this.stop();
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.onended = () => this.source === source && this.stop();
    source.start(0, startS, endS - startS);
    this.source = source;
    this.playing = { startS, endS, since: this.context.currentTime };
    this.onChange();
  }

  stop() {
    const source = this.source;
    this.source = null;
    this.playing = null;
    source?.stop();
    this.onChange();
  }

  /** Seconds into the recording that are heard now, or null. */
  get cursorS() {
    if (!this.playing) return null;
    const { startS, endS, since } = this.playing;
    return Math.min(startS + (this.context.currentTime - since), endS);
  }
}
