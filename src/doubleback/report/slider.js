// The slider of the report: it brings pictures, points and words to one distortion. It reads the JSON block beside it
// (slider.py says what is in there) and writes text as text only. Without it the page shows its still pictures.
"use strict";

const LEFT = 28, RIGHT = 190, TOP = 8, BOTTOM = 148; // the axes of the drawing in slider.html
const within = share => Math.min(Math.max(share, 0), 1);
const across = u => LEFT + (RIGHT - LEFT) * within(u);
const down = v => BOTTOM - (BOTTOM - TOP) * within(v);

document.querySelectorAll(".mover").forEach((mover, number) => start(mover, number));

function start(mover, number) {
  const data = JSON.parse(mover.querySelector("script").textContent);
  const range = mover.querySelector("input[type=range]"), words = mover.querySelector(".words");
  let attack, pair;

  // Another attack: its stops, and its pairs to choose from.
  function choose(one) {
    attack = one;
    range.max = attack.stops.length - 1;
    range.value = attack.start;
    mover.querySelector(".ends .last").textContent = attack.stops.at(-1).toFixed(2);
    const pairs = attack.pairs.map(each => [picture(each.source, "source"), picture(each.target, "target")]);
    offer("pairs", pairs, at => `pair ${attack.pairs[at].number}`, at => show(attack.pairs[at]));
    show(attack.pairs[0]);
  }

  // Radio buttons: one for each item, and what a choice does.
  function offer(name, items, said, act) {
    const box = mover.querySelector(`.${name}`);
    box.querySelectorAll("label").forEach(label => label.remove());
    box.hidden = items.length < 2;
    items.forEach((item, at) => {
      const label = document.createElement("label"), radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: `${name}-${number}`, checked: at === 0, onchange: () => act(at) });
      radio.setAttribute("aria-label", said(at));
      label.append(radio, ...item);
      box.append(label);
    });
  }

  // Another pair: its ends, its curves, and the sheets with its pictures.
  function show(one) {
    pair = one;
    for (const end of mover.querySelectorAll("img.end")) {
      end.src = pair[end.dataset.end];
      end.alt = `${end.dataset.end} of pair ${pair.number}`;
    }
    for (const part of mover.querySelectorAll("[data-run]"))
      part.toggleAttribute("hidden", !attack.runs.includes(Number(part.dataset.run)));
    attack.runs.forEach((run, at) => {
      const shot = pair.shots[at], line = mover.querySelector(`polyline[data-run="${run}"]`);
      line.setAttribute("points", shot.curve.map(([u, v]) => `${across(u)},${down(v)}`).join(" "));
      if (!shot.image) {
        shot.image = picture(shot.sheet, "");
        shot.image.onload = move;
      }
    });
    move();
  }

  // Everything to the distortion that the slider is at.
  function move() {
    const stop = Number(range.value), limit = `distortion at most ${attack.stops[stop].toFixed(2)}`;
    const shares = attack.runs.map((run, at) => [data.names[run], moveOne(run, pair.shots[at], stop, limit)]);
    mover.querySelector(".at").style.transform = `translateX(${across(attack.stops[stop])}px)`;
    const factor = pair.factors[stop];
    mover.querySelector(".factor").textContent = factor > 1 ? `difference \u00d7${factor}` : "difference";
    const [begin, end] = attack.targeted ? ["is", "of the way to the target"] : ["has moved by", "of the distance to the target"];
    const [[first, much], ...others] = shares, head = stop ? limit.replace("d", "D") : "No attack";
    words.textContent = `${head}. What comes out of ${first} ${begin} ${much} ${end}` +
      others.map(([name, share]) => `, of ${name} ${share}`).join("") + ".";
    range.setAttribute("aria-valuetext", words.textContent);
  }

  // The pictures and the point of one run. Returns in words how far what comes out has gone.
  function moveOne(run, shot, stop, limit) {
    const row = mover.querySelector(`.moving[data-run="${run}"]`), point = mover.querySelector(`circle[data-run="${run}"]`);
    const [width, height] = pair.size, u = shot.u[stop], v = shot.v[stop], known = u !== null && v !== null;
    row.querySelectorAll("canvas").forEach((canvas, line) => {
      Object.assign(canvas, { width, height });
      canvas.setAttribute("aria-label", `${canvas.dataset.said}, ${limit}`);
      if (shot.image.complete)
        canvas.getContext("2d").drawImage(shot.image, stop * width, line * height, width, height, 0, 0, width, height);
    });
    point.toggleAttribute("hidden", !known);
    point.style.transform = `translate(${across(u)}px, ${down(v)}px)`;
    const share = known ? `${Math.round(100 * within(1 - v))}\u00a0%` : "an unknown part";
    row.querySelector(".reached").textContent = known ? `${share}, u\u00a0${u.toFixed(2)}, v\u00a0${v.toFixed(2)}` : "not known";
    return share;
  }

  offer("attacks", data.attacks.map(one => [one.title]), at => data.attacks[at].title, at => choose(data.attacks[at]));
  range.addEventListener("input", move);
  choose(data.attacks[0]);
  mover.hidden = false;
}

function picture(uri, text) {
  const image = new Image();
  image.alt = text;
  image.src = uri;
  return image;
}
