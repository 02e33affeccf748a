/* SPDX-License-Identifier: MIT */
/* notified.c - stands for systemd: prints what a service says at a socket.
 *
 * usage: notified SOCKET. A datagram a line, its own lines put together by blanks. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[1000];
    ssize_t len;

    if (argc != 2 || fd < 0 || strlen(argv[1]) >= sizeof at.sun_path)
        return EXIT_FAILURE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    strcpy(at.sun_path, argv[1]);
    if (bind(fd, (const void *)&at, sizeof at) != 0)
        return EXIT_FAILURE;
    while ((len = recv(fd, text, sizeof text - 1, 0)) > 0) {
        text[len] = '\0';
        for (char *at_end = text; (at_end = strchr(at_end, '\n'));)
            *at_end = ' ';
        puts(text);
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
