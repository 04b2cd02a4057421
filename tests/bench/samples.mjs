// Percentiles, with how many samples they are of.

/** The smallest sample that is not below `share` of them. */
export function percentile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

const round = (value) => Number(value.toFixed(1));

export const summary = (samples) => ({
  samples: samples.length,
  p50_ms: round(percentile(samples, 0.5)),
  p99_ms: round(percentile(samples, 0.99)),
  max_ms: round(Math.max(...samples)),
});
