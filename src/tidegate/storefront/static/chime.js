// A sound for those who asked for it: three tones, made here, so that there is no file to load at the worst moment.

const TONES_HZ = [523, 659, 784];
const TONE_S = 0.22;
const LOUDNESS = 0.25;

function tone(context, hertz, at) {
  const source = context.createOscillator();
  const volume = context.createGain();
  source.frequency.value = hertz;
  volume.gain.setValueAtTime(0, at);
  volume.gain.linearRampToValueAtTime(LOUDNESS, at + 0.02);
  volume.gain.linearRampToValueAtTime(0, at + TONE_S);
  source.connect(volume).connect(context.destination);
  source.start(at);
  source.stop(at + TONE_S);
}

/** Binds a button that turns the sound on, which is heard at once, and off; `play` is silent unless it is on. */
export function makeChime(button, hide) {
  let context = null;

  async function sound(hertz) {
    await context.resume();
    hertz.forEach((each, place) => tone(context, each, context.currentTime + place * TONE_S));
  }

  function turn(on) {
    if (on) context = new AudioContext();
    else {
      context.close();
      context = null;
    }
    button.setAttribute("aria-pressed", String(on));
    hide("[data-sound-on]", !on);
    hide("[data-sound-off]", on);
    if (on) sound(TONES_HZ.slice(0, 1));
  }

  if (button !== null && "AudioContext" in globalThis) {
    button.hidden = false;
    button.addEventListener("click", () => turn(context === null));
  }
  return {
    /** Resolves when it has been heard. */
    async play() {
      if (context === null) return;
      await Promise.race([sound(TONES_HZ), new Promise((done) => setTimeout(done, 1000))]);
      await new Promise((done) => setTimeout(done, TONES_HZ.length * TONE_S * 1000));
    },
  };
}
