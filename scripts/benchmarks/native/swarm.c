/* Many WebSocket connections in one process, as cheap as the kernel allows: they say hello, count
 * the events that they are given, ask, and answer pings. It looks at no content beyond the first
 * bytes: what contains "events" is an event, any other message after the welcome is an answer.
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
 *                    -> done FIRST_NS LAST_NS LEAST MOST BYTES CPU_US
 *                    FIRST_NS and LAST_NS: when the first and the last of them was given its M-th
 *     round I M MS HEX   write these bytes to connection I and wait as await does
 *                    -> rounded NS FIRST_NS LAST_NS LEAST MOST BYTES CPU_US
 *     template I AT HEX   what connection I asks, in turn with what it was told before; a frame with
 *                    a mask of zeros, in which the 8 digits at AT become the number of the request
 *                    (none where that is beyond its end) -> kept COUNT
 *     ask I N K MS   N connections from I on have K requests each under way for MS milliseconds
 *                    -> asked COUNT ERRORS BEGIN_NS END_NS P50_NS P99_NS CPU_US
 *     pace I GAP_NS COUNT   connection I asks every GAP_NS, COUNT times, and every connection is
 *                    given an event for each
 *                    -> paced COUNT BEGIN_NS END_NS P50_NS P99_NS MOST_NS LATE_NS CPU_US
 *                    from when it was asked to when a connection had it; LATE_NS: the asker itself
 *     probe I GAP_NS COUNT  the same, for the answers on connection I alone
 *     forget         count events from 0 again                -> forgot COUNT
 *     close          end all connections                      -> closed COUNT
 *
 * Anything unexpected ends the process with a line on standard error.
 */
#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum phase { CONNECTING, UPGRADING, GREETING, WELCOMED };
enum { MOST_LINE = 1 << 20, BATCH = 512, DIGITS = 8, MOST_IN_FLIGHT = 256 };

/* What is waited for longest is shown in steps of 10 us, up to 10 s. */
enum { STEP_NS = 10000, STEPS = 1000000 };

static const uint64_t PATIENCE_NS = 30000000000;
static const uint64_t COMMAND = UINT64_MAX, CLOCK = UINT64_MAX - 1;

struct template {
    unsigned char *bytes;
    uint32_t length, digits_at;
    struct template *next;
};

struct asker {
    struct template *first, *turn;
    uint64_t sent_ns[MOST_IN_FLIGHT];   /* of what is under way, a ring */
    unsigned oldest, under_way;
};

struct connection {
    int fd;
    enum phase phase;
    struct head head;
    struct frame frame;
    uint32_t events;
    struct asker *asker;
};

struct record {
    unsigned char *bytes;
    uint32_t length;
};

static struct sockaddr_in server;
static struct record *records;
static size_t record_count;
static struct connection *connections;
static struct asker **askers;   /* they outlive their connections */
static size_t wanted, opened, welcomed, most_on_the_way;
static int poller, timer;
static uint64_t first_event_ns, last_event_ns, read_ns, bytes_read;
static uint32_t awaited;
static size_t behind;

static uint32_t *waits;          /* how many waited for so many steps */
static uint64_t waited, longest_ns;
static uint32_t asked, answered, errors;
static int is_asking;

static uint64_t *paced_ns;       /* when each event of `pace` was asked for */
static uint32_t paced_from, paced_count;

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

/* How long things took. */

static void forget_waits(void)
{
    memset(waits, 0, (STEPS + 1) * sizeof *waits);
    waited = longest_ns = 0;
}

static void note_wait(uint64_t ns)
{
    waits[ns / STEP_NS < STEPS ? ns / STEP_NS : STEPS]++;
    waited++;
    longest_ns = ns > longest_ns ? ns : longest_ns;
}

static uint64_t wait_of(double share)
{
    uint64_t rank = (uint64_t)(share * (double)waited), before = 0;
    for (uint64_t step = 0; step <= STEPS; step++) {
        before += waits[step];
        if (before > rank)
            return step * STEP_NS + STEP_NS / 2;
    }
    return 0;
}

/* Connecting. */

static void open_one(void)
{
    struct connection *connection = &connections[opened];
    int on = 1;
    memset(connection, 0, sizeof *connection);
    connection->asker = askers[opened];
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

/* Asking. */

static void send_next(struct connection *connection)
{
    struct asker *asker = connection->asker;
    struct template *turn = asker->turn;
    uint32_t number = asked++;
    for (unsigned at = turn->digits_at + DIGITS <= turn->length ? DIGITS : 0; at--; number /= 10)
        turn->bytes[turn->digits_at + at] = (unsigned char)('0' + number % 10);
    asker->turn = turn->next ? turn->next : asker->first;
    write_all(connection->fd, turn->bytes, turn->length);
}

static void ask_once(struct connection *connection)
{
    struct asker *asker = connection->asker;
    asker->sent_ns[(asker->oldest + asker->under_way++) % MOST_IN_FLIGHT] = now_ns();
    send_next(connection);
}

static void on_answer(struct connection *connection)
{
    struct asker *asker = connection->asker;
    if (!asker || !asker->under_way)
        return;
    note_wait(read_ns - asker->sent_ns[asker->oldest]);
    asker->oldest = (asker->oldest + 1) % MOST_IN_FLIGHT;
    asker->under_way--;
    answered++;
    if (says(&connection->frame, "error") && !errors++) {
        fputs("swarm: the first refusal: ", stderr);
        fwrite(connection->frame.peek, 1, connection->frame.peek_length, stderr);
        fputc('\n', stderr);
    }
    if (is_asking)
        ask_once(connection);
}

/* How many events are in a message: in MessagePack the length of the array that is named so, after
 * the type of the same name; one elsewhere. */
static unsigned events_in(const struct frame *frame)
{
    const unsigned char *end = frame->peek + frame->peek_length;
    const unsigned char *at = memmem(frame->peek, frame->peek_length, "events", 6);
    at = memmem(at + 6, (size_t)(end - at - 6), "events", 6);
    if (!at || end - at < 9)
        return 1;
    return at[6] >> 4 == 9 ? at[6] & 15u : at[6] == 0xdc ? (unsigned)at[7] << 8 | at[8] : 1;
}

static void on_event(struct connection *connection)
{
    uint32_t number = connection->events++;
    if (connection->events == awaited) {
        if (!first_event_ns)
            first_event_ns = read_ns;
        last_event_ns = read_ns;
        behind--;
    }
    if (number - paced_from < paced_count)
        note_wait(read_ns - paced_ns[number - paced_from]);
}

/* Reading. */

static void on_frame(struct connection *connection)
{
    static const unsigned char PONG[] = {0x8a, 0x80, 0, 0, 0, 0};
    unsigned opcode = connection->frame.header[0] & 0x0f;
    errno = 0;
    if (opcode == 9) {
        write_all(connection->fd, PONG, sizeof PONG);
    } else if (opcode == 8) {
        fprintf(stderr, "%s: the server closes a connection: %u %.*s\n", program,
                connection->frame.peek[0] << 8 | connection->frame.peek[1],
                (int)connection->frame.peek_length - 2, connection->frame.peek + 2);
        exit(1);
    } else if (opcode == 10) {
        return;
    } else if (says(&connection->frame, "events")) {
        for (unsigned left = events_in(&connection->frame); left--; )
            on_event(connection);
    } else if (connection->phase == WELCOMED) {
        on_answer(connection);
    } else if (says(&connection->frame, "welcome")) {
        connection->phase = WELCOMED;
        welcomed++;
    }
}

static void on_readable(size_t number)
{
    static unsigned char buffer[1 << 18];
    struct connection *connection = &connections[number];
    const unsigned char *bytes = buffer;
    ssize_t got = read(connection->fd, buffer, sizeof buffer);
    if (got < 0 && errno == EAGAIN)
        return;
    errno = got ? errno : 0;
    if (got <= 0)
        die("a connection broke");
    size_t length = (size_t)got;
    read_ns = now_ns();
    bytes_read += length;
    if (connection->phase == UPGRADING) {
        errno = 0;
        if (!connection->head.matched && length >= 12 && memcmp(bytes, "HTTP/1.1 101", 12))
            die("the server does not upgrade");
        size_t taken = take_head(&connection->head, bytes, length);
        bytes += taken;
        length -= taken;
        if (!connection->head.is_over)
            return;
        connection->phase = GREETING;
        write_all(connection->fd, records[1 + number].bytes, records[1 + number].length);
    }
    while (length && take_frame(&connection->frame, &bytes, &length)) {
        on_frame(connection);
        next_frame(&connection->frame);
    }
}

/* Handles what happens on the connections for at most so long; returns what else there is. */
static unsigned turn(int timeout_ms)
{
    static struct epoll_event ready[BATCH];
    unsigned found = 0;
    int count = epoll_wait(poller, ready, BATCH, timeout_ms);
    for (int at = 0; at < count; at++) {
        uint64_t number = ready[at].data.u64;
        if (number == COMMAND)
            found |= 1;
        else if (number == CLOCK)
            found |= 2;
        else if (connections[number].phase == CONNECTING)
            on_connected(number);
        else
            on_readable(number);
    }
    return found;
}

/* Commands. */

static unsigned long long cpu(void)
{
    return (unsigned long long)cpu_us();
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
           (unsigned long long)now_ns(), cpu());
}

static size_t from_hex(const char *hex, unsigned char *bytes)
{
    size_t length = 0;
    unsigned value;
    for (; sscanf(hex, "%2x", &value) == 1; hex += 2)
        bytes[length++] = (unsigned char)value;
    return length;
}

static uint64_t send_hex(size_t number, const char *hex)
{
    static unsigned char bytes[MOST_LINE / 2];
    size_t length = from_hex(hex, bytes);
    errno = 0;
    if (number >= opened)
        die("send");
    uint64_t sent = now_ns();
    write_all(connections[number].fd, bytes, length);
    return sent;
}

static void begin_waiting(uint32_t count)
{
    awaited = count;
    behind = 0;
    first_event_ns = last_event_ns = 0;
    for (size_t number = 0; number < opened; number++)
        behind += connections[number].events < awaited;
}

static void wait_for_events(uint64_t most_ns)
{
    uint64_t give_up = now_ns() + most_ns;
    while (behind && now_ns() < give_up)
        turn(100);
}

static void answer_events(void)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (size_t number = 0; number < opened; number++) {
        uint32_t events = connections[number].events;
        least = events < least ? events : least;
        most = events > most ? events : most;
    }
    printf(" %llu %llu %u %u %llu %llu\n", (unsigned long long)first_event_ns,
           (unsigned long long)last_event_ns, least, most, (unsigned long long)bytes_read, cpu());
}

static void do_send(size_t number, const char *hex)
{
    printf("sent %llu\n", (unsigned long long)send_hex(number, hex));
}

static void do_await(uint32_t count, uint64_t timeout_ms)
{
    begin_waiting(count);
    wait_for_events(timeout_ms * 1000000);
    printf("done");
    answer_events();
}

static void do_round(size_t number, uint32_t count, uint64_t timeout_ms, const char *hex)
{
    begin_waiting(count);
    uint64_t sent = send_hex(number, hex);
    wait_for_events(timeout_ms * 1000000);
    printf("rounded %llu", (unsigned long long)sent);
    answer_events();
}

static void do_template(size_t number, uint32_t digits_at, const char *hex)
{
    struct template *made = calloc(1, sizeof *made);
    errno = 0;
    if (!made || number + 1 >= record_count)
        die("template");
    made->bytes = malloc(strlen(hex) / 2 + 1);
    made->length = (uint32_t)from_hex(hex, made->bytes);
    made->digits_at = digits_at;
    if (!askers[number])
        askers[number] = calloc(1, sizeof **askers);
    struct asker *asker = askers[number];
    connections[number].asker = asker;
    size_t count = 1;
    struct template **end = &asker->first;
    for (; *end; end = &(*end)->next)
        count++;
    *end = made;
    asker->turn = asker->first;
    printf("kept %zu\n", count);
}

static void begin_asking(size_t first, size_t count)
{
    errno = 0;
    for (size_t number = first; number < first + count; number++)
        if (number >= opened || !connections[number].asker)
            die("a connection without a template");
    forget_waits();
    answered = errors = 0;
}

static void do_ask(size_t first, size_t count, unsigned in_flight, uint64_t ms)
{
    begin_asking(first, count);
    uint64_t begin = now_ns(), end = begin + ms * 1000000;
    is_asking = 1;
    for (size_t number = first; number < first + count; number++)
        for (unsigned at = 0; at < in_flight; at++)
            ask_once(&connections[number]);
    uint32_t due = (uint32_t)count * in_flight;
    while (now_ns() < end)
        turn((int)((end - now_ns()) / 1000000) + 1);
    is_asking = 0;
    uint32_t in_time = answered, wrong = errors;
    end = now_ns();
    while (answered < in_time + due && now_ns() < end + PATIENCE_NS)
        turn(100);
    if (answered != in_time + due)
        die("a request was not answered");
    printf("asked %u %u %llu %llu %llu %llu %llu\n", in_time, wrong, (unsigned long long)begin,
           (unsigned long long)end, (unsigned long long)wait_of(0.5),
           (unsigned long long)wait_of(0.99), cpu());
}

static void set_timer(uint64_t gap_ns)
{
    struct timespec gap = {.tv_sec = (time_t)(gap_ns / 1000000000),
                           .tv_nsec = (long)(gap_ns % 1000000000)};
    struct itimerspec times = {.it_interval = gap, .it_value = gap};
    timerfd_settime(timer, 0, &times, NULL);
}

/* Asks every gap_ns, for answers never more than MOST_IN_FLIGHT ahead of the answers; returns how late it was
 * at worst. A request that is due while the asker itself is late counts from when it was sent. */
static uint64_t ask_in_time(struct connection *connection, uint64_t gap_ns, uint32_t count)
{
    uint64_t begin = now_ns(), latest = 0, expirations;
    set_timer(gap_ns);
    for (uint32_t sent = 0; sent < count; ) {
        if (turn(1000) & 2 && read(timer, &expirations, sizeof expirations) < 0)
            die("timer");
        for (; sent < count; sent++) {
            uint64_t due = begin + gap_ns * (sent + 1), now = now_ns();
            if (now < due || connection->asker->under_way >= MOST_IN_FLIGHT)
                break;
            latest = now - due > latest ? now - due : latest;
            if (paced_count) {
                paced_ns[sent] = now;   /* only the events count; not every server answers */
                send_next(connection);
            } else {
                ask_once(connection);
            }
        }
    }
    set_timer(0);
    return latest;
}

static void answer_pace(const char *word, uint32_t count, uint64_t begin, uint64_t late)
{
    printf("%s %u %llu %llu %llu %llu %llu %llu %llu\n", word, count, (unsigned long long)begin,
           (unsigned long long)now_ns(), (unsigned long long)wait_of(0.5),
           (unsigned long long)wait_of(0.99), (unsigned long long)longest_ns,
           (unsigned long long)late, cpu());
}

static void wait_for_answers(struct asker *asker)
{
    uint64_t give_up = now_ns() + PATIENCE_NS;
    while (asker->under_way && now_ns() < give_up)
        turn(100);
    if (asker->under_way)
        die("a request was not answered");
}

static void do_pace(size_t number, uint64_t gap_ns, uint32_t count, int for_events)
{
    begin_asking(number, 1);
    struct connection *connection = &connections[number];
    paced_ns = realloc(paced_ns, (count + 1) * sizeof *paced_ns);
    paced_from = connection->events;
    if (for_events)
        paced_count = count;
    uint64_t begin = now_ns();
    uint64_t late = ask_in_time(connection, gap_ns, count);
    if (for_events) {
        begin_waiting(paced_from + count);
        wait_for_events(PATIENCE_NS);
        paced_count = 0;
        if (behind) {
            fprintf(stderr, "%s: %zu connections were not given %u events\n", program, behind,
                    count);
            exit(1);
        }
        answer_pace("paced", count, begin, late);
    } else {
        wait_for_answers(connection->asker);
        answer_pace("probed", count, begin, late);
    }
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

static void do_forget(void)
{
    for (size_t number = 0; number < opened; number++)
        connections[number].events = 0;
    printf("forgot %zu\n", opened);
}

static void obey(char *line)
{
    size_t one = 0, two = 0, three = 0, four = 0;
    int hex = 0;
    if (sscanf(line, "open %zu %zu", &one, &two) == 2)
        do_open(one, two);
    else if (sscanf(line, "send %zu %n", &one, &hex) == 1 && hex)
        do_send(one, line + hex);
    else if (sscanf(line, "await %zu %zu", &one, &two) == 2)
        do_await((uint32_t)one, two);
    else if (sscanf(line, "round %zu %zu %zu %n", &one, &two, &three, &hex) == 3 && hex)
        do_round(one, (uint32_t)two, three, line + hex);
    else if (sscanf(line, "template %zu %zu %n", &one, &two, &hex) == 2 && hex)
        do_template(one, (uint32_t)two, line + hex);
    else if (sscanf(line, "ask %zu %zu %zu %zu", &one, &two, &three, &four) == 4)
        do_ask(one, two, (unsigned)three, four);
    else if (sscanf(line, "pace %zu %zu %zu", &one, &two, &three) == 3)
        do_pace(one, two, (uint32_t)three, 1);
    else if (sscanf(line, "probe %zu %zu %zu", &one, &two, &three) == 3)
        do_pace(one, two, (uint32_t)three, 0);
    else if (!strncmp(line, "forget", 6))
        do_forget();
    else if (!strncmp(line, "close", 5))
        do_close();
    else {
        errno = EINVAL;
        die(line);
    }
    fflush(stdout);
}

static void start(const char *host, const char *port, const char *path)
{
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(port));
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1)
        die(host);
    read_records(path);
    connections = calloc(record_count + 1, sizeof *connections);
    askers = calloc(record_count + 1, sizeof *askers);
    waits = calloc(STEPS + 1, sizeof *waits);
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.u64 = COMMAND};
    struct epoll_event clock = {.events = EPOLLIN, .data.u64 = CLOCK};
    if (!connections || !askers || !waits || poller < 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input) < 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, timer, &clock) < 0)
        die("start");
}

int main(int count, char **arguments)
{
    static char input[MOST_LINE];
    size_t length = 0;
    program = "swarm";
    if (count != 4) {
        fprintf(stderr, "swarm HOST PORT FILE\n");
        return 2;
    }
    start(arguments[1], arguments[2], arguments[3]);
    for (;;) {
        if (!(turn(-1) & 1))
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
