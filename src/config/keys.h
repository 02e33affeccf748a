/* SPDX-License-Identifier: MIT */
/* config/keys.h - the keys of the file, each once: reading, messages and the reference
 * page follow from these rows. */
#ifndef CQ_CONFIG_KEYS_H
#define CQ_CONFIG_KEYS_H

#include "base/clock.h"
#include "base/str.h"

typedef enum cq_key_type {
    CQ_KEY_TEXT,    /* least and most: bytes; no control characters */
    CQ_KEY_QUEUE,   /* the same, a name of a queue: no braces, not blank */
    CQ_KEY_DATA,    /* as TEXT, but any bytes */
    CQ_KEY_INT,     /* least and most: the number */
    CQ_KEY_BOOL,    /* true, false, yes, no, on, off */
    CQ_KEY_TIME,    /* least and most: seconds; -1 is CRONQ_NEVER. Read as milliseconds */
    CQ_KEY_CHOICE,  /* one of choices; read as its index */
    CQ_KEY_TEXTS,   /* least and most: how many */
    CQ_KEY_WEIGHTS, /* name: number; most: how many */
    CQ_KEY_PAIRS,   /* name: text; most: how many */
    CQ_KEY_HEADERS, /* the same, names of HTTP headers */
    CQ_KEY_RATIO,   /* from 0 to 1; read as billionths */
    CQ_KEY_SECTION, /* the keys below "path." */
    CQ_KEY_SECTIONS, /* a list of them; below "path[]." */
    CQ_KEY_UNBUILT,  /* known from go-zero: ignored with a warning */
} cq_key_type;

#define CQ_TEN_YEARS_S ((int64_t)315360000)
#define CQ_DAY_S       ((int64_t)86400)

/* clang-format off */
/* X(id, path, type, least, most, choices, default, doc) */
#define CQ_CONFIG_KEYS(X) \
X(NAME, "Name", TEXT, 1, 100, NULL, "required", "name of the service") \
X(LOG, "Log", SECTION, 0, 0, NULL, "", "where log lines go, as in go-zero's logx") \
X(LOG_SERVICE, "Log.ServiceName", TEXT, 0, 100, NULL, "`Name`", "part of the path with `Mode: volume`") \
X(LOG_MODE, "Log.Mode", CHOICE, 0, 0, "console|file|volume", "console", "standard error; `Path/cronq.log` and `Path/error.log`; the same below `Path/ServiceName/HOSTNAME`") \
X(LOG_ENCODING, "Log.Encoding", CHOICE, 0, 0, "json|plain", "plain on a terminal, else json", "a JSON object a line, or text") \
X(LOG_PATH, "Log.Path", TEXT, 1, 1024, NULL, "logs", "directory of the files; made when missing") \
X(LOG_LEVEL, "Log.Level", CHOICE, 0, 0, "debug|info|warn|error|severe", "info", "lines below it are not written; severe: none is") \
X(LOG_CONTENT, "Log.MaxContentLength", INT, 0, 1048576, NULL, "16384", "bytes after which the text of a line is cut; 0: the default") \
X(LOG_TIME_FORMAT, "Log.TimeFormat", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_COMPRESS, "Log.Compress", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_STAT, "Log.Stat", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_KEEP_DAYS, "Log.KeepDays", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_STACK, "Log.StackCooldownMillis", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_BACKUPS, "Log.MaxBackups", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_SIZE, "Log.MaxSize", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_ROTATION, "Log.Rotation", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_FILE_TIME, "Log.FileTimeFormat", UNBUILT, 0, 0, NULL, "", "") \
X(LOG_FIELDS, "Log.FieldKeys", UNBUILT, 0, 0, NULL, "", "") \
X(MODE, "Mode", UNBUILT, 0, 0, NULL, "", "") \
X(METRICS_URL, "MetricsUrl", UNBUILT, 0, 0, NULL, "", "") \
X(PROMETHEUS, "Prometheus", UNBUILT, 0, 0, NULL, "", "") \
X(TELEMETRY, "Telemetry", SECTION, 0, 0, NULL, "", "traces, see docs/tracing.md; what is not said here is taken from `OTEL_*` variables") \
X(TEL_NAME, "Telemetry.Name", TEXT, 0, 200, NULL, "`Name`", "service.name of the spans") \
X(TEL_ENDPOINT, "Telemetry.Endpoint", TEXT, 0, 2048, NULL, "", "HOST:PORT or URL of the receiver; with `Batcher: file` the path of a file; without it contexts travel but nothing is exported") \
X(TEL_SAMPLER, "Telemetry.Sampler", RATIO, 0, 0, NULL, "1.0", "part of the traces that begin here; others are followed as their sender decided") \
X(TEL_BATCHER, "Telemetry.Batcher", CHOICE, 0, 0, "otlphttp|file", "otlphttp", "OTLP over HTTP, or JSON lines") \
X(TEL_HEADERS, "Telemetry.OtlpHeaders", HEADERS, 0, 100, NULL, "", "HTTP headers of each request, as for credentials") \
X(TEL_PATH, "Telemetry.OtlpHttpPath", TEXT, 0, 1024, NULL, "/v1/traces", "path of the receiver") \
X(TEL_SECURE, "Telemetry.OtlpHttpSecure", BOOL, 0, 0, NULL, "false", "https, unless `Endpoint` says which") \
X(TEL_RETRY_LINKS, "Telemetry.RetryLinks", BOOL, 0, 0, NULL, "false", "a retry begins a trace of its own, linked to the push") \
X(TEL_DISABLED, "Telemetry.Disabled", BOOL, 0, 0, NULL, "false", "no traces at all") \
X(DEV, "DevServer", SECTION, 0, 0, NULL, "", "serve metrics, health and readiness over HTTP; without this section it is not done") \
X(DEV_ENABLED, "DevServer.Enabled", BOOL, 0, 0, NULL, "true", "false: as if the section were not there") \
X(DEV_HOST, "DevServer.Host", TEXT, 0, 255, NULL, "127.0.0.1", "address to listen on; 0.0.0.0: all, which anyone who reaches it can read") \
X(DEV_PORT, "DevServer.Port", INT, 0, 65535, NULL, "6060", "port to listen on; 0: the default") \
X(DEV_METRICS, "DevServer.MetricsPath", TEXT, 0, 200, NULL, "/metrics", "path of the metrics, for Prometheus") \
X(DEV_HEALTH, "DevServer.HealthPath", TEXT, 0, 200, NULL, "/healthz", "path that answers as long as the process lives; /readyz says whether it takes tasks") \
X(DEV_RESPONSE, "DevServer.HealthResponse", TEXT, 0, 1024, NULL, "OK", "what it answers") \
X(DEV_ENABLE_METRICS, "DevServer.EnableMetrics", BOOL, 0, 0, NULL, "true", "false: there is no path of the metrics") \
X(DEV_PPROF, "DevServer.EnablePprof", UNBUILT, 0, 0, NULL, "", "") \
X(SHUTDOWN, "Shutdown", UNBUILT, 0, 0, NULL, "", "") \
X(PROFILING, "Profiling", UNBUILT, 0, 0, NULL, "", "") \
X(WORK, "WorkConf", SECTION, 0, 0, NULL, "", "the store, and how it is worked on") \
X(WORK_MODE, "WorkConf.Mode", CHOICE, 0, 0, "single|sentinel|cluster|embedded", "single when there is an `Addr`", "kind of store") \
X(WORK_NETWORK, "WorkConf.Network", CHOICE, 0, 0, "tcp|unix", "tcp", "how `Addr` is reached") \
X(WORK_ADDR, "WorkConf.Addr", TEXT, 1, 1024, NULL, "", "HOST:PORT of the Redis server, or the path of its socket; without a port 6379") \
X(WORK_USERNAME, "WorkConf.Username", TEXT, 0, 1024, NULL, "", "user of Redis") \
X(WORK_PASSWORD, "WorkConf.Password", TEXT, 0, 1024, NULL, "", "its password; better `${REDIS_PASSWORD}` than written here") \
X(WORK_DB, "WorkConf.DB", INT, 0, 1000000, NULL, "0", "number of the database") \
X(WORK_POOL, "WorkConf.PoolSize", INT, 0, 10000, NULL, "0", "connections at most; 0: ten a CPU") \
X(WORK_DIAL, "WorkConf.DialTimeout", TIME, -1, CQ_TEN_YEARS_S, NULL, "5", "to connect; 0: the default, -1: never over") \
X(WORK_READ, "WorkConf.ReadTimeout", TIME, -1, CQ_TEN_YEARS_S, NULL, "3", "to read a reply; 0: the default, -1: never over") \
X(WORK_WRITE, "WorkConf.WriteTimeout", TIME, -1, CQ_TEN_YEARS_S, NULL, "3", "to write a request; 0: as reading, -1: never over") \
X(WORK_PASSWORD_FILE, "WorkConf.PasswordFile", TEXT, 0, 4095, NULL, "", "file that holds the password, read again for each connection; wins over Password") \
X(WORK_TLS, "WorkConf.TLS", BOOL, 0, 0, NULL, "false", "encrypted connections, to sentinels and all nodes too; certificates are verified") \
X(WORK_TLS_CA, "WorkConf.TLSCAFile", TEXT, 1, 4095, NULL, "the system's", "authorities to trust, PEM") \
X(WORK_TLS_DIR, "WorkConf.TLSCADir", TEXT, 1, 4095, NULL, "", "the same, a directory made by `openssl rehash`") \
X(WORK_TLS_CERT, "WorkConf.TLSCertFile", TEXT, 1, 4095, NULL, "", "our certificate, for servers that ask for one, PEM") \
X(WORK_TLS_KEY, "WorkConf.TLSKeyFile", TEXT, 1, 4095, NULL, "", "its key, PEM, not encrypted") \
X(WORK_TLS_NAME, "WorkConf.TLSServerName", TEXT, 1, 255, NULL, "the host of the address", "whom the server's certificate must name") \
X(WORK_TLS_VERSION, "WorkConf.TLSMinVersion", CHOICE, 0, 0, "1.2|1.3", "1.2", "what is older is refused") \
X(WORK_TLS_INSECURE, "WorkConf.TLSInsecureSkipVerify", BOOL, 0, 0, NULL, "false", "anybody may pose as the store; warned about at each start") \
X(WORK_WAIT, "WorkConf.Wait", SECTION, 0, 0, NULL, "", "when a push counts as accepted") \
X(WAIT_REPLICAS, "WorkConf.Wait.Replicas", INT, 0, 1000, NULL, "0", "so many replicas must have it too") \
X(WAIT_TIMEOUT, "WorkConf.Wait.Timeout", TIME, 0, CQ_TEN_YEARS_S, NULL, "1", "for that; below ReadTimeout; 0: the default") \
X(WORK_MASTER, "WorkConf.MasterName", TEXT, 0, 1024, NULL, "", "with `Mode: sentinel`") \
X(WORK_SENTINELS, "WorkConf.SentinelAddrs", TEXTS, 0, 100, NULL, "", "with `Mode: sentinel`") \
X(WORK_SENTINEL_USER, "WorkConf.SentinelUsername", TEXT, 0, 1024, NULL, "", "with `Mode: sentinel`") \
X(WORK_SENTINEL_PASSWORD, "WorkConf.SentinelPassword", TEXT, 0, 1024, NULL, "", "with `Mode: sentinel`") \
X(WORK_NOTICE, "WorkConf.OnArchive", SECTION, 0, 0, NULL, "", "who is told of each task that this server archives") \
X(NOTICE_COMMAND, "WorkConf.OnArchive.Command", TEXTS, 1, 1000, NULL, "", "program and arguments, no shell; the notice is its standard input") \
X(NOTICE_URL, "WorkConf.OnArchive.URL", TEXT, 1, 4096, NULL, "", "or where to POST the notice") \
X(NOTICE_SECRET, "WorkConf.OnArchive.SecretFile", TEXT, 1, 4095, NULL, "", "file with the secret that the POST is signed with") \
X(NOTICE_PRIVATE, "WorkConf.OnArchive.AllowPrivate", BOOL, 0, 0, NULL, "false", "the POST may go to addresses that are not of the public internet") \
X(NOTICE_TIMEOUT, "WorkConf.OnArchive.Timeout", TIME, 0, CQ_DAY_S, NULL, "10", "for one notice; 0: the default") \
X(WORK_ARCHIVE, "WorkConf.Archive", SECTION, 0, 0, NULL, "", "how much of each queue's archived tasks is kept; the oldest are deleted when one more is archived") \
X(ARCHIVE_SIZE, "WorkConf.Archive.Size", INT, 0, 2147483647, NULL, "10000", "so many tasks; 0: the default") \
X(ARCHIVE_AGE, "WorkConf.Archive.Age", TIME, -1, CQ_TEN_YEARS_S, NULL, "7776000", "so long, that is 90 days; 0: the default, -1: for ever") \
X(WORK_ADDRS, "WorkConf.Addrs", TEXTS, 0, 1000, NULL, "", "with `Mode: cluster`") \
X(WORK_REDIRECTS, "WorkConf.MaxRedirects", INT, 0, 100, NULL, "8", "with `Mode: cluster`") \
X(WORK_PATH, "WorkConf.Path", TEXT, 1, 1024, NULL, "", "file of the store, with `Mode: embedded`; without it the one in the state directory") \
X(WORK_NAMESPACE, "WorkConf.Namespace", QUEUE, 0, 200, NULL, "", "patterns become `Namespace:Pattern`, and without `Queues` its queue is served") \
X(WORK_CONCURRENCY, "WorkConf.Concurrency", INT, 0, 10000, NULL, "0", "tasks that run at once; 0: one a CPU") \
X(WORK_QUEUES, "WorkConf.Queues", WEIGHTS, 0, 1000, NULL, "{default: 1}", "queues to serve, each with its weight; a weight below 1 switches it off") \
X(WORK_STRICT, "WorkConf.StrictPriority", BOOL, 0, 0, NULL, "false", "nothing is taken from a queue while one of more weight has tasks") \
X(WORK_SHUTDOWN, "WorkConf.ShutdownTimeout", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "8", "for running tasks when the worker stops; 0: the default") \
X(WORK_SUPERVISE, "WorkConf.Supervise", BOOL, 0, 0, NULL, "true", "work in a forked process, and fork another when it has crashed") \
X(WORK_HEALTH, "WorkConf.HealthCheckInterval", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "15", "between two looks at the store; 0: the default") \
X(WORK_CHECK, "WorkConf.TaskCheckInterval", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "1", "between two looks for tasks where the store wakes nobody; 0: the default") \
X(WORK_DELAYED, "WorkConf.DelayedTaskCheckInterval", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "5", "the same for tasks that become due; 0: the default") \
X(WORK_GRACE, "WorkConf.GroupGracePeriod", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "60", "a group is merged when its newest task is that old; at least 1 s, 0: the default") \
X(WORK_GROUP_DELAY, "WorkConf.GroupMaxDelay", TIME, -1, CQ_TEN_YEARS_S, NULL, "300", "or when its oldest is that old; 0: the default, -1: never") \
X(WORK_GROUP_SIZE, "WorkConf.GroupMaxSize", INT, 0, 1000000, NULL, "0", "or when it has so many tasks; 0: no limit but 5,000") \
X(WORK_AGGREGATE, "WorkConf.Aggregate", SECTION, 0, 0, NULL, "", "merge groups by putting their payloads one after the other; without this section they are not merged") \
X(AGGREGATE_TYPE, "WorkConf.Aggregate.Type", TEXT, 1, 1024, NULL, "required", "type of the merged task; `Namespace:Type` with a namespace") \
X(AGGREGATE_JOIN, "WorkConf.Aggregate.Join", CHOICE, 0, 0, "lines|json-array", "lines", "each payload and a newline; an array, in which what is not JSON becomes a string") \
X(WORK_JANITOR, "WorkConf.JanitorInterval", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "8", "between two deletions of completed tasks whose retention is over; 0: the default") \
X(WORK_JANITOR_BATCH, "WorkConf.JanitorBatchSize", INT, 0, 10000, NULL, "100", "how many it deletes at once; 0: the default") \
X(WORK_COMPAT, "WorkConf.Compat", CHOICE, 0, 0, "none|seed", "none", "seed: entries push without retries, delays are 2^(n+1)-1 s") \
X(RETRY, "WorkConf.Retry", SECTION, 0, 0, NULL, "", "when a task that failed runs again") \
X(RETRY_DELAY, "WorkConf.Retry.Delay", CHOICE, 0, 0, "reference|exponential|fixed", "reference", "n^4 + 15 + random s; Base * (2^(n+1)-1), at most Cap; Base") \
X(RETRY_BASE, "WorkConf.Retry.Base", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "1", "see Delay; 0: the default") \
X(RETRY_CAP, "WorkConf.Retry.Cap", TIME, 0, CQ_PERIOD_LIMIT_S, NULL, "86400", "see Delay; 0: the default") \
X(RETRY_MAX, "WorkConf.Retry.MaxRetry", INT, 0, 2147483647, NULL, "25", "for entries that do not say; 0: none") \
X(TASKS, "Tasks", SECTIONS, 0, 1000, NULL, "", "commands to run, and entries that push by the clock") \
X(TASK_PATTERN, "Tasks[].Pattern", TEXT, 1, 1024, NULL, "required", "types of tasks that begin with it; the type that an entry pushes") \
X(TASK_COMMAND, "Tasks[].Command", TEXTS, 1, 1000, NULL, "", "program and arguments, no shell, see [commands](commands.md); without it the entry is only pushed") \
X(TASK_SHELL, "Tasks[].Shell", BOOL, 0, 0, NULL, "false", "the first text of Command is a script of /bin/sh, the others are its $1, $2, …") \
X(TASK_URL, "Tasks[].URL", TEXT, 1, 4096, NULL, "", "request to send in place of a Command, see [HTTP tasks](http.md)") \
X(TASK_METHOD, "Tasks[].Method", CHOICE, 0, 0, "GET|POST|PUT|PATCH|DELETE", "POST", "of the request") \
X(TASK_HEADERS, "Tasks[].Headers", HEADERS, 0, 100, NULL, "", "HTTP headers of the request") \
X(TASK_BODY, "Tasks[].Body", DATA, 0, 1048576, NULL, "the payload", "of the request, JSON with placeholders") \
X(TASK_SECRET, "Tasks[].SecretFile", TEXT, 1, 4095, NULL, "", "file with the secret that requests are signed with") \
X(TASK_CA, "Tasks[].CAFile", TEXT, 1, 4095, NULL, "the system's", "authorities that may vouch for the server, PEM") \
X(TASK_PRIVATE, "Tasks[].AllowPrivate", BOOL, 0, 0, NULL, "false", "the request may go to addresses that are not of the public internet") \
X(TASK_DIR, "Tasks[].Dir", TEXT, 1, 4095, NULL, "", "directory in which the command runs") \
X(TASK_ENV, "Tasks[].Env", PAIRS, 0, 1000, NULL, "", "its environment, beside PATH, HOME, LANG, TZ, LC_ALL and CRONQ_*") \
X(TASK_USER, "Tasks[].User", TEXT, 1, 200, NULL, "that of the worker", "USER or USER:GROUP, names or numbers, to run the command as; another one needs root") \
X(TASK_KILL_GRACE, "Tasks[].KillGrace", TIME, 0, CQ_TEN_YEARS_S, NULL, "2", "from SIGTERM to SIGKILL when the command is stopped; 0: the default") \
X(TASK_MEMORY, "Tasks[].MemoryMiB", INT, 0, 1048576, NULL, "0", "limit of the command's memory; 0: none") \
X(TASK_CPU, "Tasks[].CPUTime", TIME, 0, CQ_TEN_YEARS_S, NULL, "0", "limit of each of its processes, in whole seconds; 0: none") \
X(TASK_PROCESSES, "Tasks[].MaxProcesses", INT, 0, 1000000, NULL, "0", "limit of its processes and threads; 0: none") \
X(TASK_OPEN_FILES, "Tasks[].MaxOpenFiles", INT, 0, 1000000, NULL, "0", "limit of each of its processes; 0: that of the worker") \
X(TASK_FILE_SIZE, "Tasks[].MaxFileMiB", INT, 0, 1048576, NULL, "0", "limit of each file that it writes; 0: none") \
X(TASK_OUTPUT, "Tasks[].OutputKiB", INT, 0, 1024, NULL, "64", "how much of its output, or of the answer, is kept as the result; 0: the default") \
X(TASK_TIMEOUT, "Tasks[].Timeout", TIME, 0, CQ_TEN_YEARS_S, NULL, "1800 for entries, else none", "after which the command, or the request (30 s), is stopped; 0: the default") \
X(TASK_CRON, "Tasks[].Cron", TEXT, 1, 1024, NULL, "", "when to push: five fields, six with seconds first, or @every and the like") \
X(TASK_ISOLATION, "Tasks[].Isolation", CHOICE, 0, 0, "thread|process", "thread", "where what runs it is at home: in the worker, or in child processes of it") \
X(TASK_NAME, "Tasks[].Name", TEXT, 1, 200, NULL, "a hash of the entry", "id of the entry") \
X(TASK_ZONE, "Tasks[].TimeZone", TEXT, 1, 200, NULL, "Local", "zone of Cron, as in Europe/Paris") \
X(TASK_OVERLAP, "Tasks[].Overlap", CHOICE, 0, 0, "allow|skip", "allow", "skip: no push while the last run is not over") \
X(TASK_PAYLOAD, "Tasks[].Payload", DATA, 0, 1048576, NULL, "", "what an entry pushes") \
X(TASK_QUEUE, "Tasks[].Queue", QUEUE, 1, 200, NULL, "`Namespace`, else default", "queue to which an entry pushes") \
X(TASK_MAX_RETRY, "Tasks[].MaxRetry", INT, 0, 2147483647, NULL, "`Retry.MaxRetry`", "retries of an entry's tasks; 0: none") \
X(TASK_RETENTION, "Tasks[].Retention", TIME, 0, CQ_TEN_YEARS_S, NULL, "0", "how long an entry's tasks and their results are kept when done") \
X(TASK_UNIQUE, "Tasks[].Unique", TIME, 0, CQ_TEN_YEARS_S, NULL, "0", "for how long an equal task is refused; at least 1 s, 0: not")
/* clang-format on */

typedef enum cq_key {
#define CQ_KEY_ENUM(id, path, type, least, most, choices, standard, doc) CQ_K_##id,
    CQ_CONFIG_KEYS(CQ_KEY_ENUM)
#undef CQ_KEY_ENUM
        CQ_KEY_COUNT
} cq_key;

typedef struct cq_key_row {
    const char *path;
    cq_key_type type;
    int64_t least, most;
    const char *choices; /* separated by | */
    const char *standard;
    const char *doc;
} cq_key_row;

extern const cq_key_row cq_key_rows[CQ_KEY_COUNT];

/* The row for name directly below section ("", "WorkConf", "Tasks[]"), in any case;
 * CQ_KEY_COUNT when there is none. */
cq_key cq_key_find(const char *section, cq_str name);

/* The last part of the path. */
const char *cq_key_leaf(cq_key key);

/* What name may have been meant to be: a key of the section, else a whole path from
 * elsewhere. NULL: no idea. */
const char *cq_key_nearest(const char *section, cq_str name);

/* The index of text in choices, in any case; -1. */
int cq_choice_find(const char *choices, cq_str text);
/* The choice that is nearest to text; empty: none is near. */
cq_str cq_choice_nearest(const char *choices, cq_str text);

#endif
