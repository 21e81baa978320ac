/* The physical limit of fan-out: a server that sends a prepared frame to every socket in a loop.
 *
 *     send_loop each|joined FRAME_BYTES
 *
 * It prints a line of JSON with its address. A client's first message is answered with "welcome";
 * one that begins with "all" sends a frame that begins with "events" to everybody, one that begins
 * with "echo" comes back. With `joined`, what is due to everybody after a round of reading is sent
 * to each socket in one write. It does not check the WebSocket handshake and knows no other rules.
 */
#define _GNU_SOURCE
#include "../native/wire.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST = 1 << 16, BATCH = 512, JOIN = 256, MOST_FRAME = 4096 };

struct client {
    int fd;
    int is_welcome;
    struct head head;
    struct frame frame;
};

static struct client *clients[MOST];   /* by file descriptor */
static int joined[MOST];               /* the descriptors of the welcome ones */
static int joined_count;
static unsigned char event[JOIN * MOST_FRAME];
static size_t event_length;
static unsigned due;
static int is_joining;
static int poller;

static size_t make_frame(unsigned char *out, const char *word, size_t length)
{
    size_t at = 0;
    out[at++] = 0x81;
    if (length < 126) {
        out[at++] = (unsigned char)length;
    } else {
        out[at++] = 126;
        out[at++] = (unsigned char)(length >> 8);
        out[at++] = (unsigned char)length;
    }
    memset(out + at, 'x', length);
    memcpy(out + at, word, strlen(word));
    return at + length;
}

static void send_to_all(unsigned count)
{
    for (int at = 0; at < joined_count; at++)
        write_all(joined[at], event, event_length * count);
}

static void forget(struct client *client)
{
    for (int at = 0; at < joined_count; at++)
        if (joined[at] == client->fd)
            joined[at] = joined[--joined_count];
    clients[client->fd] = NULL;
    close(client->fd);
    free(client);
}

static void on_frame(struct client *client)
{
    static unsigned char answer[MOST_FRAME];
    struct frame *frame = &client->frame;
    if (frame->peek_length >= 3 && !memcmp(frame->peek, "all", 3)) {
        due++;
        if (!is_joining || due == JOIN) {
            send_to_all(due);
            due = 0;
        }
    } else if (!client->is_welcome) {
        client->is_welcome = 1;
        joined[joined_count++] = client->fd;
        write_all(client->fd, answer, make_frame(answer, "welcome", 7));
    } else {
        write_all(client->fd, answer, make_frame(answer, "echo", frame->peek_length));
    }
}

static void on_readable(struct client *client)
{
    static const char SWITCH[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n\r\n";
    static unsigned char buffer[1 << 16];
    const unsigned char *bytes = buffer;
    ssize_t got = read(client->fd, buffer, sizeof buffer);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        forget(client);
        return;
    }
    size_t length = (size_t)got;
    if (!client->head.is_over) {
        size_t taken = take_head(&client->head, bytes, length);
        if (client->head.is_over)
            write_all(client->fd, (const unsigned char *)SWITCH, sizeof SWITCH - 1);
        bytes += taken;
        length -= taken;
    }
    while (length && take_frame(&client->frame, &bytes, &length)) {
        on_frame(client);
        next_frame(&client->frame);
    }
}

static void on_connect(int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= MOST) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        die("memory");
    client->fd = fd;
    clients[fd] = client;
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest) < 0)
        die("epoll_ctl");
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, 4096) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    printf("{\"ready\":true,\"ws\":\"ws://127.0.0.1:%d/\"}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int count, char **arguments)
{
    static struct epoll_event ready[BATCH];
    program = "send_loop";
    if (count != 3) {
        fprintf(stderr, "send_loop each|joined FRAME_BYTES\n");
        return 2;
    }
    is_joining = !strcmp(arguments[1], "joined");
    event_length = make_frame(event, "events", (size_t)atoi(arguments[2]) - 4);
    for (unsigned at = 1; at < JOIN; at++)
        memcpy(event + at * event_length, event, event_length);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_somewhere();
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest) < 0)
        die("start");
    for (;;) {
        int got = epoll_wait(poller, ready, BATCH, -1);
        for (int at = 0; at < got; at++) {
            struct client *client = clients[ready[at].data.fd];
            if (ready[at].data.fd == listener)
                on_connect(listener);
            else if (client)
                on_readable(client);
        }
        if (due) {
            send_to_all(due);
            due = 0;
        }
    }
}
