#!/bin/sh
# Traces of cronq server: the variables of OpenTelemetry, OTLP as JSON and over TLS, values
# that are wrong, and the context that commands get. The receiver is Python's HTTP server.
. "${0%/*}/lib.sh"

cat >"$work/receive.py" <<'PY'
# receive.py PORT_FILE DIRECTORY [CERTIFICATE]: keeps each request as NUMBER.head and NUMBER.body.
import http.server, ssl, sys
port_file, directory = sys.argv[1:3]
class Receiver(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        name = f'{directory}/{Receiver.count}'
        Receiver.count += 1
        open(name + '.body', 'wb').write(body)
        open(name + '.head', 'w').write(self.path + '\n' + str(self.headers))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Receiver)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + '.new', 'w') as file:
    file.write(str(server.server_port))
import os
os.rename(port_file + '.new', port_file)
server.serve_forever()
PY
# receiver NAME [CERTIFICATE]: its requests go to $work/NAME, its port to $port.
receiver() {
    mkdir "$work/$1"
    python3 "$work/receive.py" "$work/$1.port" "$work/$1" ${2:+"$2"} 2>"$work/$1.log" &
    children="$children $!"
    within 20 test -s "$work/$1.port"
    port=$(cat "$work/$1.port")
}

cat >"$work/plain.yaml" <<YAML
Name: from-file
WorkConf: {Concurrency: 2, ShutdownTimeout: 1s}
Tasks:
  - {Pattern: tell, Command: [sh, -c, 'printf %s "\$\$TRACEPARENT" >$work/told']}
YAML

# drain VARIABLE=VALUE...: pushes a task, and has it done by a server with these variables.
drain() {
    rm -f "$work/told"
    expect 0 "$CRONQ" push -u "sqlite:$work/db" tell x
    expect 0 env "$@" "$CRONQ" server -u "sqlite:$work/db" -f "$work/plain.yaml" --drain
    test -e "$work/told" || broken "the task was run"
}
received() {
    find "$work/$1" -name '*.body' | wc -l
}
# has NAME TEXT: a request to that receiver has it.
has() {
    grep -qF -- "$2" "$work/$1"/* || broken "$1 received $2: $(cat "$work/$1"/* | tr -d '\000')"
}

receiver json
drain OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$port/" OTEL_EXPORTER_OTLP_PROTOCOL=http/json \
    OTEL_SERVICE_NAME=shop 'OTEL_RESOURCE_ATTRIBUTES=deployment.environment=pr%6Fd, team = a b,odd' \
    OTEL_EXPORTER_OTLP_HEADERS=x-key=s%65cret OTEL_BSP_SCHEDULE_DELAY=100
has json '/v1/traces'
has json 'Content-Type: application/json'
has json 'x-key: secret'
complains "a pair without ="
out=$(cat "$work/json/0.body")
same cron-consumer-tell "$(json resourceSpans 0 scopeSpans 0 spans 0 name)"
same 5 "$(json resourceSpans 0 scopeSpans 0 spans 0 kind)"
has json '{"key":"service.name","value":{"stringValue":"shop"}}'
has json '{"key":"deployment.environment","value":{"stringValue":"prod"}}'
has json '{"key":"team","value":{"stringValue":"a b"}}'
# A command's own calls are below the span of its attempt.
trace=$(json resourceSpans 0 scopeSpans 0 spans 0 traceId)
span=$(json resourceSpans 0 scopeSpans 0 spans 0 spanId)
same "00-$trace-$span-01" "$(cat "$work/told")"

# What is about traces wins over what is about everything.
drain OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:$port/own" \
    OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1" OTEL_EXPORTER_OTLP_PROTOCOL=http/json \
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf
has json '/own'
has json 'Content-Type: application/x-protobuf'
has json 'from-file'

# Nothing is sent when it is not wanted.
before=$(received json)
endpoint="OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$port"
drain "$endpoint" OTEL_SDK_DISABLED=TRUE
same "" "$(cat "$work/told")"
drain "$endpoint" OTEL_TRACES_EXPORTER=none
drain "$endpoint" OTEL_TRACES_SAMPLER=always_off
drain "$endpoint" OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0
same "$before" "$(received json)"

# Odd values are named and ignored.
drain "$endpoint" OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=7 \
    OTEL_BSP_MAX_QUEUE_SIZE=many OTEL_BSP_MAX_EXPORT_BATCH_SIZE=0 OTEL_EXPORTER_OTLP_TIMEOUT=-5 \
    OTEL_EXPORTER_OTLP_PROTOCOL=grpc
for name in OTEL_TRACES_SAMPLER_ARG OTEL_BSP_MAX_QUEUE_SIZE OTEL_BSP_MAX_EXPORT_BATCH_SIZE \
    OTEL_EXPORTER_OTLP_TIMEOUT OTEL_EXPORTER_OTLP_PROTOCOL; do
    complains "$name"
done
drain "$endpoint" OTEL_TRACES_SAMPLER=jaeger_remote
complains OTEL_TRACES_SAMPLER
drain OTEL_TRACES_EXPORTER=zipkin
complains OTEL_TRACES_EXPORTER
same $((before + 2)) "$(received json)"

# So are an endpoint that is no URL, a header that is none, and numbers over the limit.
before=$(received json)
drain OTEL_EXPORTER_OTLP_ENDPOINT="127.0.0.1:$port"
complains OTEL_EXPORTER_OTLP_ENDPOINT
drain OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="grpc://127.0.0.1:$port"
complains OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
same "$before" "$(received json)"
drain "$endpoint" OTEL_EXPORTER_OTLP_HEADERS='=nameless,a b=c,line=a%0Ab,x-kept=kept' OTEL_BSP_MAX_QUEUE_SIZE=1000001
complains OTEL_EXPORTER_OTLP_HEADERS
complains OTEL_BSP_MAX_QUEUE_SIZE
has json 'x-kept: kept'
same $((before + 1)) "$(received json)"

# service.name is said once: by its own variable, else by the resource, else by the file.
drain "$endpoint" OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_RESOURCE_ATTRIBUTES=service.name=by-resource,service.version=7
same 1 "$(grep -oF '"key":"service.name"' "$work/json/$((before + 1)).body" | wc -l)"
has json '{"key":"service.name","value":{"stringValue":"by-resource"}}'
drain "$endpoint" OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_RESOURCE_ATTRIBUTES=service.name=unheard OTEL_SERVICE_NAME=by-variable
same 1 "$(grep -oF '"key":"service.name"' "$work/json/$((before + 2)).body" | wc -l)"
has json '{"key":"service.name","value":{"stringValue":"by-variable"}}'

# TLS, with an authority of our own; without it the receiver is not believed.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=receiver \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat "$work/key.pem" "$work/cert.pem" >"$work/both.pem"
receiver tls "$work/both.pem"
drain OTEL_EXPORTER_OTLP_ENDPOINT="https://127.0.0.1:$port" OTEL_EXPORTER_OTLP_CERTIFICATE="$work/cert.pem"
has tls 'cron-consumer-tell'
before=$(received tls)
drain OTEL_EXPORTER_OTLP_ENDPOINT="https://127.0.0.1:$port"
same "$before" "$(received tls)"
complains "certificate"

# A retry is in the trace of its push, or in one of its own that is linked to it.
trace=11111111111111111111111111111111
# spans NAME SECTION: how a task that fails once is traced, in $work/NAME.spans.
spans() {
    cat >"$work/$1.yaml" <<YAML
Name: retries
WorkConf: {Concurrency: 1, Retry: {Delay: fixed, Base: 10ms}}
Tasks:
  - {Pattern: tell, Command: [sh, -c, 'test -e $work/$1.failed || { touch $work/$1.failed; exit 1; }']}
Telemetry: {Batcher: file, Endpoint: $work/$1.spans$2}
YAML
    expect 0 "$CRONQ" push -u "sqlite:$work/db" -H "traceparent=00-$trace-2222222222222222-01" tell x
    for run in 1 2; do # the first may end before the retry is due
        expect 0 "$CRONQ" server -u "sqlite:$work/db" -f "$work/$1.yaml" --drain
    done
}
# count NAME TEXT: how often the spans have it.
count() {
    grep -oF -- "$2" "$work/$1.spans" | wc -l
}
spans child ""
same 2 "$(count child '"name":"cron-consumer-tell"')"
same 2 "$(count child '"parentSpanId":"2222222222222222"')"
spans link ", RetryLinks: true"
same 2 "$(count link '"name":"cron-consumer-tell"')"
same 1 "$(count link '"parentSpanId"')"
same 1 "$(count link '"links":[{"traceId":"'$trace'","spanId":"2222222222222222"')"

# The section of the file, over TLS too; what it says wins.
cp "$work/plain.yaml" "$work/plain.yaml.kept"
cat >>"$work/plain.yaml" <<YAML
Telemetry: {Name: section, Endpoint: "127.0.0.1:$port", OtlpHttpSecure: true, OtlpHttpPath: /section, OtlpHeaders: {x-own: yes-it-is}}
YAML
drain OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_CERTIFICATE="$work/cert.pem"
has tls '/section'
has tls 'x-own: yes-it-is'
has tls 'section'

# wrong KEY VALUE TEXT: config check names the key, and says so.
wrong() {
    printf 'Name: x\nTasks: [{Pattern: t, Command: ["true"]}]\nTelemetry:\n  %s: %s\n' "$1" "$2" >"$work/wrong.yaml"
    expect 3 "$CRONQ" config check "$work/wrong.yaml"
    complains "wrong.yaml:4:"
    complains "$1"
}
wrong Sampler 1.5
wrong Sampler -0.1
wrong Sampler often
wrong Batcher kafka
wrong RetryLinks maybe
wrong OtlpHeaders '{"a b": c}'
wrong OtlpHeaders '[a, b]'
wrong OtlpHttpSecure perhaps
wrong Disabled 3
wrong Sample 1
wrong Endpoint '[1]'
