/* Many WebSocket connections in one process, as cheap as the kernel allows: they say hello, count
 * the events that they are given, and answer pings. It looks at no content beyond the first bytes.
 *
 *     swarm HOST PORT FILE
 *
 * FILE holds records, each a 32-bit little-endian length and as many bytes: first the HTTP upgrade
 * request of all, then the hello of each connection as a masked WebSocket frame.
 *
 * Commands, one a line on standard input, each answered by one line; times are CLOCK_MONOTONIC ns:
 *     open N K       have N connections welcomed, at most K at a time on the way
 *                    -> opened CONNECTIONS BEGIN_NS END_NS CPU_US
 *     send I HEX     write these bytes to connection I        -> sent NS
 *     await M MS     wait until every connection was given M events in all, at most MS milliseconds
 *                    -> done LAST_NS LEAST MOST CPU_US
 *     close          end all connections                      -> closed COUNT
 *
 * Anything unexpected ends the process with a line on standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum phase { CONNECTING, UPGRADING, GREETING, WELCOMED };

/* A name of a frame is among its payload's first bytes, in either codec. */
enum { PEEK = 32, MOST_LINE = 1 << 20, BATCH = 512 };

struct connection {
    int fd;
    enum phase phase;
    unsigned char head[14];     /* of the frame that is being read */
    unsigned head_length;
    unsigned char peek[PEEK];   /* its payload's first bytes */
    unsigned peek_length;
    uint64_t left;              /* payload bytes still to come */
    int in_payload;
    uint32_t matched;           /* bytes of the blank line that ends the HTTP answer */
    uint32_t events;
};

struct record {
    unsigned char *bytes;
    uint32_t length;
};

static struct sockaddr_in server;
static struct record *records;
static size_t record_count;
static struct connection *connections;
static size_t wanted, opened, welcomed, most_on_the_way;
static int poller;
static uint64_t last_event_ns;
static uint32_t awaited;
static size_t behind;

static void die(const char *what)
{
    fprintf(stderr, "swarm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void read_records(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint32_t length;
    if (!file)
        die(path);
    while (fread(&length, sizeof length, 1, file) == 1) {
        records = realloc(records, (record_count + 1) * sizeof *records);
        if (!records)
            die("memory");
        struct record *record = &records[record_count++];
        record->length = length;
        record->bytes = malloc(length);
        if (!record->bytes || fread(record->bytes, 1, length, file) != length)
            die("records");
    }
    fclose(file);
}

static void write_all(int fd, const unsigned char *bytes, size_t length)
{
    while (length) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EAGAIN)
            continue;   /* a few bytes: the buffer is free in a moment */
        if (written < 0)
            die("write");
        bytes += written;
        length -= (size_t)written;
    }
}

static void open_one(void)
{
    struct connection *connection = &connections[opened];
    int on = 1;
    memset(connection, 0, sizeof *connection);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* One source address has 28,000 ports; on loopback there are many addresses. */
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + opened / 20000);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (ntohl(server.sin_addr.s_addr) >> 24 == 127 &&
        bind(connection->fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind");
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0 &&
        errno != EINPROGRESS)
        die("connect");
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT, .data.u64 = opened};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &interest) < 0)
        die("epoll_ctl");
    opened++;
}

static void open_more(void)
{
    while (opened < wanted && opened - welcomed < most_on_the_way)
        open_one();
}

static void on_connected(size_t number)
{
    struct connection *connection = &connections[number];
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = number};
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        errno = error;
        die("connect");
    }
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &interest);
    write_all(connection->fd, records[0].bytes, records[0].length);
    connection->phase = UPGRADING;
}

/* Returns how many bytes belonged to the HTTP answer. */
static size_t on_http(size_t number, const unsigned char *bytes, size_t length)
{
    static const char END[] = "\r\n\r\n";
    struct connection *connection = &connections[number];
    for (size_t at = 0; at < length; at++) {
        if (connection->peek_length < PEEK)
            connection->peek[connection->peek_length++] = bytes[at];
        connection->matched = bytes[at] == END[connection->matched] ? connection->matched + 1
                              : bytes[at] == '\r'                   ? 1
                                                                    : 0;
        if (connection->matched < 4)
            continue;
        errno = 0;
        if (memcmp(connection->peek, "HTTP/1.1 101", 12))
            die("the server does not upgrade");
        connection->peek_length = 0;
        connection->phase = GREETING;
        write_all(connection->fd, records[1 + number].bytes, records[1 + number].length);
        return at + 1;
    }
    return length;
}

static void on_frame(struct connection *connection)
{
    static const unsigned char PONG[] = {0x8a, 0x80, 0, 0, 0, 0};
    unsigned opcode = connection->head[0] & 0x0f;
    errno = 0;
    if (opcode == 9) {
        write_all(connection->fd, PONG, sizeof PONG);
    } else if (opcode == 8) {
        die("the server closes a connection");
    } else if (memmem(connection->peek, connection->peek_length, "events", 6)) {
        connection->events++;
        if (connection->events == awaited) {
            last_event_ns = now_ns();
            behind--;
        }
    } else if (memmem(connection->peek, connection->peek_length, "welcome", 7)) {
        connection->phase = WELCOMED;
        welcomed++;
    }
    connection->head_length = connection->peek_length = 0;
    connection->in_payload = 0;
}

static unsigned head_size(const struct connection *connection)
{
    if (connection->head_length < 2)
        return 2;
    unsigned length = connection->head[1] & 0x7f;
    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

static void on_bytes(struct connection *connection, const unsigned char *bytes, size_t length)
{
    while (length || (connection->in_payload && !connection->left)) {
        if (!connection->in_payload) {
            connection->head[connection->head_length++] = *bytes++;
            length--;
            if (connection->head_length < head_size(connection) || connection->head_length < 2)
                continue;
            unsigned size = connection->head_length;
            connection->left = size == 2 ? connection->head[1] & 0x7f : 0;
            for (unsigned at = 2; at < size; at++)
                connection->left = connection->left << 8 | connection->head[at];
            connection->in_payload = 1;
        }
        size_t here = length < connection->left ? length : connection->left;
        size_t room = PEEK - connection->peek_length;
        size_t kept = here < room ? here : room;
        memcpy(connection->peek + connection->peek_length, bytes, kept);
        connection->peek_length += (unsigned)kept;
        connection->left -= here;
        bytes += here;
        length -= here;
        if (!connection->left)
            on_frame(connection);
    }
}

static void on_readable(size_t number)
{
    static unsigned char buffer[1 << 18];
    struct connection *connection = &connections[number];
    ssize_t length = read(connection->fd, buffer, sizeof buffer);
    if (length < 0 && errno == EAGAIN)
        return;
    errno = length ? errno : 0;
    if (length <= 0)
        die("a connection broke");
    size_t start = 0;
    if (connection->phase == UPGRADING)
        start = on_http(number, buffer, (size_t)length);
    if (connection->phase >= GREETING)
        on_bytes(connection, buffer + start, (size_t)length - start);
}

/* Handles what happens on the connections for at most so long; returns whether there is input. */
static int turn(int timeout_ms)
{
    static struct epoll_event ready[BATCH];
    int has_input = 0;
    int count = epoll_wait(poller, ready, BATCH, timeout_ms);
    for (int at = 0; at < count; at++) {
        size_t number = ready[at].data.u64;
        if (number == SIZE_MAX)
            has_input = 1;
        else if (connections[number].phase == CONNECTING)
            on_connected(number);
        else
            on_readable(number);
    }
    return has_input;
}

static void do_open(size_t count, size_t at_a_time)
{
    uint64_t begin = now_ns();
    errno = 0;
    if (count + 1 > record_count || !at_a_time)
        die("open");
    wanted = count;
    most_on_the_way = at_a_time;
    while (welcomed < wanted) {
        open_more();
        turn(1000);
    }
    printf("opened %zu %llu %llu %llu\n", welcomed, (unsigned long long)begin,
           (unsigned long long)now_ns(), (unsigned long long)cpu_us());
}

static void do_send(size_t number, const char *hex)
{
    static unsigned char bytes[MOST_LINE / 2];
    size_t length = 0;
    unsigned value;
    errno = 0;
    if (number >= opened)
        die("send");
    for (; sscanf(hex, "%2x", &value) == 1; hex += 2)
        bytes[length++] = (unsigned char)value;
    uint64_t sent = now_ns();
    write_all(connections[number].fd, bytes, length);
    printf("sent %llu\n", (unsigned long long)sent);
}

static void do_await(uint32_t count, uint64_t timeout_ms)
{
    uint64_t give_up = now_ns() + timeout_ms * 1000000;
    uint32_t least = UINT32_MAX, most = 0;
    awaited = count;
    behind = 0;
    last_event_ns = 0;
    for (size_t number = 0; number < opened; number++)
        behind += connections[number].events < awaited;
    while (behind && now_ns() < give_up)
        turn(100);
    for (size_t number = 0; number < opened; number++) {
        uint32_t events = connections[number].events;
        least = events < least ? events : least;
        most = events > most ? events : most;
    }
    printf("done %llu %u %u %llu\n", (unsigned long long)last_event_ns, least, most,
           (unsigned long long)cpu_us());
}

static void do_close(void)
{
    struct linger at_once = {.l_onoff = 1};   /* no TIME_WAIT: the ports are wanted again */
    size_t count = opened;
    for (size_t number = 0; number < opened; number++) {
        setsockopt(connections[number].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(connections[number].fd);
    }
    wanted = opened = welcomed = 0;
    printf("closed %zu\n", count);
}

static void obey(char *line)
{
    size_t first = 0, second = 0;
    int hex = 0;
    if (sscanf(line, "open %zu %zu", &first, &second) == 2)
        do_open(first, second);
    else if (sscanf(line, "send %zu %n", &first, &hex) == 1 && hex)
        do_send(first, line + hex);
    else if (sscanf(line, "await %zu %zu", &first, &second) == 2)
        do_await((uint32_t)first, second);
    else if (!strncmp(line, "close", 5))
        do_close();
    else {
        errno = EINVAL;
        die(line);
    }
    fflush(stdout);
}

int main(int count, char **arguments)
{
    static char input[MOST_LINE];
    size_t length = 0;
    if (count != 4) {
        fprintf(stderr, "swarm HOST PORT FILE\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(arguments[2]));
    if (inet_pton(AF_INET, arguments[1], &server.sin_addr) != 1)
        die(arguments[1]);
    read_records(arguments[3]);
    connections = calloc(record_count + 1, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = SIZE_MAX};
    if (!connections || poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, 0, &interest) < 0)
        die("start");
    for (;;) {
        if (!turn(-1))
            continue;
        ssize_t more = read(0, input + length, sizeof input - length - 1);
        if (more <= 0)
            return 0;
        length += (size_t)more;
        input[length] = 0;
        for (char *end; (end = strchr(input, '\n')); ) {
            *end = 0;
            obey(input);
            length -= (size_t)(end + 1 - input);
            memmove(input, end + 1, length + 1);
        }
    }
}
