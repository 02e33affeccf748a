/* SPDX-License-Identifier: MIT */
/* cli/main.c - the program: read the command line, run the subcommand. */
#include "cli/cli.h"

#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A descriptor that is closed would be taken by the first socket, which would then
 * receive what we print. What stands in for stdin refuses to be read and what stands in
 * for stdout to be written, so that an empty payload or a loss is noticed. */
static void fill_standard_descriptors(void)
{
    static const int modes[] = { O_WRONLY, O_RDONLY, O_WRONLY };

    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(CQ_CLI_RUNTIME);
}

static int run(cq_cli *cli, int argc, char **argv)
{
    cq_buf out;
    int code = cq_cli_parse(cli, argc, argv);

    if (code != CQ_CLI_OK)
        return code;
    if (!cli->help)
        return cli->command->run(cli);
    cq_buf_init(&out, 1 << 16);
    cq_cli_help(cli, &out);
    return cq_cli_print(cli, &out);
}

int main(int argc, char **argv)
{
    cq_cli cli;
    int code;

    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of what tables show */
    code = cq_cli_finish(run(&cli, argc, argv));
    cq_cli_release(&cli);
    return code;
}
