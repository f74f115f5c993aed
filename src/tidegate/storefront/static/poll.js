// When to ask for a room's status again: the rule that its `poll` stands for, as `tidegate.gate.next_poll_s` has it.

/**
 * In seconds. With a number: the distance to the front over `per_s`. Without one: a tenth of the time until the room
 * opens. Both within `near_s` and `far_s`, give or take `jitter`; `draw` is chance, 0 to 1.
 */
export function nextPoll({ poll, number, serving, opensIn_s, draw }) {
  const far = number === null ? Math.max(opensIn_s, 0) / 10 : Math.max(number - serving, 0) / poll.per_s;
  return Math.min(Math.max(far, poll.near_s), poll.far_s) * (1 + poll.jitter * (2 * draw - 1));
}

/**
 * How many retries may come sooner than the next look would have: a tenth of the looks, and some that are saved up. A
 * shop that is down is then hardly asked more often than one that is well.
 */
export function retryBudget({ share = 0.1, most = 5 } = {}) {
  let left = most;
  return {
    looked() {
      left = Math.min(left + share, most);
    },
    take() {
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}

const RETRY_S = { first: 1, most: 60 };

/** In seconds, after so many failures in a row: twice as long each time, by chance, and as long as the shop asks for. */
export function retryPause({ failures, retryAfter_s, draw }) {
  const most = Math.min(RETRY_S.first * 2 ** Math.min(failures, 10), RETRY_S.most);
  return Math.max(most * (0.5 + draw / 2), retryAfter_s);
}
