-- One line for a run of wrk: requests per second, failed requests, P50, P95 and P99 in milliseconds.
done = function(summary, latency)
    local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout + summary.errors.status
    io.write(string.format("%.0f %d %.2f %.2f %.2f\n", summary.requests / summary.duration * 1e6, errors,
        latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
