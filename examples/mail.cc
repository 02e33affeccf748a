/* SPDX-License-Identifier: MIT */
/* mail.cc - C++: pushes a task to a file of its own and runs it, in one process. The
 * option macros are C; in C++ a struct is filled in. No exception may leave a handler. */
#include <atomic>
#include <cronq/cronq.h>
#include <exception>
#include <iostream>
#include <string>

struct mailer {
    std::atomic<int> sent{ 0 };
};

static cronq_status send(cronq_attempt *attempt, void *arg)
try {
    cronq_bytes payload = cronq_attempt_payload(attempt);

    std::cout << "to " << std::string(static_cast<const char *>(payload.data), payload.len)
              << std::endl;
    static_cast<mailer *>(arg)->sent++;
    return CRONQ_OK;
} catch (const std::exception &e) {
    return cronq_attempt_fail(attempt, "%s", e.what());
}

static cronq_status push(cronq_client *client, const std::string &to, cronq_error *err)
{
    cronq_task task = {};

    task.struct_size = sizeof task;
    task.type = "mail:send";
    task.payload = { to.data(), to.size() };
    task.max_retry = 3;
    return cronq_client_push(client, &task, nullptr, err);
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "sqlite:cronq.db";
    cronq_client *client = nullptr;
    cronq_server *server = nullptr;
    cronq_error err = {};
    mailer mail;
    bool ok = !cronq_client_new(uri, nullptr, &client, &err) &&
              !push(client, "ada@example.com", &err) &&
              !cronq_server_new(uri, nullptr, &server, &err) &&
              !cronq_server_add(server, "mail:send", send, &mail, nullptr, &err) &&
              !cronq_server_drain(server, &err);

    if (!ok)
        std::cerr << "mail: " << err.text << std::endl;
    cronq_server_free(server);
    cronq_client_free(client);
    return ok && mail.sent == 1 ? 0 : 1;
}
