// Parts fail alone: what throws is turned off and named in every report, the others go on.

// What does not work, by part: why. Bounded by the number of parts.
const broken = new Map();
// Of an error's text.
const MAX_WHY = 160;

// `TypeError: no (at /srv/first.js:3:9)`; the place only where it is not this file.
function reason(error) {
  try {
    const text = String(error).slice(0, MAX_WHY);
    const frame = /\n\s+at (.*)/.exec(String(error && error.stack));
    if (frame === null || frame[1].includes(__filename)) return text;
    return `${text} (at ${frame[1].slice(0, MAX_WHY)})`;
  } catch {
    return 'an error that cannot be read';
  }
}

function fails(name, error) {
  if (!broken.has(name)) broken.set(name, reason(error));
}

// Starts a part. It makes a guard of each function that it gives away: no exception gets out, and
// after the first one none of the part's functions does anything any more.
function startPart(name, start) {
  let off = false;
  const fail = (error) => {
    off = true;
    fails(name, error);
  };
  const guard = (work) => (argument) => {
    if (off) return;
    try {
      work(argument);
    } catch (error) {
      fail(error);
    }
  };
  try {
    start(guard);
  } catch (error) {
    fail(error);
  }
}

// What a part that is asked anew for each report says; undefined if it throws. It is asked again.
function askPart(name, ask) {
  try {
    const answer = ask();
    broken.delete(name);
    return answer;
  } catch (error) {
    fails(name, error);
    return undefined;
  }
}

function brokenText() {
  if (broken.size === 0) return '';
  let text = '';
  for (const [name, why] of broken) {
    text += `${text === '' ? '' : ','}{"part":${quote(name)},"why":${stringify(why)}}`;
  }
  return `,"broken":[${text}]`;
}
