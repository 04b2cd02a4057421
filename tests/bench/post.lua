-- wrk -s post.lua URL -- HEADERS BODY [PATH…]: posts the body in file BODY with the header lines in file HEADERS, over and
-- over, to each PATH in turn or to that of URL.
-- Ends with one line of JSON.

function init(args)
    wrk.method = "POST"
    for line in io.lines(args[1]) do
        local name, value = line:match("^([^:]+):%s*(.*)$")
        if name then wrk.headers[name] = value end
    end
    local file = assert(io.open(args[2], "rb"))
    wrk.body = file:read("*a")
    file:close()
    -- Built once: what is measured is the proxy, not this.
    whole = {}
    for at = 3, #args do whole[at - 2] = wrk.format(nil, args[at]) end
    if #whole == 0 then whole[1] = wrk.format() end
    turn = 0
end

function request()
    turn = turn % #whole + 1
    return whole[turn]
end

function done(summary)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.6f,"bytes":%d,"errors":%d}\n',
        summary.requests, summary.duration / 1e6, summary.bytes,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout
    ))
end
