/* What the C programs of scripts/bench share: time, errors, and reading WebSocket frames. */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A name of a frame is among its payload's first bytes, in either codec. */
enum { PEEK = 96 };

static const char *program;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program, what, strerror(errno));
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static inline void write_all(int fd, const unsigned char *bytes, size_t length)
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

/* Counts the bytes up to and with the blank line that ends an HTTP head. */
struct head {
    unsigned matched;
    int is_over;
};

/* Returns how many of these bytes belong to the head. */
static inline size_t take_head(struct head *head, const unsigned char *bytes, size_t length)
{
    static const char END[] = "\r\n\r\n";
    for (size_t at = 0; at < length; at++) {
        char byte = (char)bytes[at];
        head->matched = byte == END[head->matched] ? head->matched + 1 : byte == '\r' ? 1 : 0;
        if (head->matched == 4) {
            head->is_over = 1;
            return at + 1;
        }
    }
    return length;
}

/* The frame that is being read: its opcode, and the first bytes of its payload, unmasked. */
struct frame {
    unsigned char header[14];
    unsigned header_length;
    unsigned char peek[PEEK];
    unsigned peek_length;
    uint64_t left;
    int in_payload;
};

static inline unsigned header_size(const struct frame *frame)
{
    if (frame->header_length < 2)
        return 2;
    unsigned length = frame->header[1] & 0x7f;
    unsigned mask = frame->header[1] & 0x80 ? 4 : 0;
    return mask + (length == 127 ? 10 : length == 126 ? 4 : 2);
}

static inline void begin_payload(struct frame *frame)
{
    unsigned length = frame->header[1] & 0x7f;
    unsigned bytes = length == 127 ? 8 : length == 126 ? 2 : 0;
    frame->left = bytes ? 0 : length;
    for (unsigned at = 2; at < 2 + bytes; at++)
        frame->left = frame->left << 8 | frame->header[at];
    frame->in_payload = 1;
}

static inline void unmask(struct frame *frame)
{
    if (!(frame->header[1] & 0x80))
        return;
    const unsigned char *mask = frame->header + frame->header_length - 4;
    for (unsigned at = 0; at < frame->peek_length; at++)
        frame->peek[at] ^= mask[at % 4];
}

static inline void next_frame(struct frame *frame)
{
    frame->header_length = frame->peek_length = 0;
    frame->in_payload = 0;
}

/* Takes bytes of a frame; returns 1 when it is whole, after which next_frame is called. */
static inline int take_frame(struct frame *frame, const unsigned char **bytes, size_t *length)
{
    while (!frame->in_payload) {
        if (!*length)
            return 0;
        frame->header[frame->header_length++] = *(*bytes)++;
        --*length;
        if (frame->header_length >= 2 && frame->header_length == header_size(frame))
            begin_payload(frame);
    }
    size_t here = *length < frame->left ? *length : frame->left;
    size_t room = PEEK - frame->peek_length;
    size_t kept = here < room ? here : room;
    memcpy(frame->peek + frame->peek_length, *bytes, kept);
    frame->peek_length += (unsigned)kept;
    frame->left -= here;
    *bytes += here;
    *length -= here;
    if (frame->left)
        return 0;
    unmask(frame);
    return 1;
}

static inline int says(const struct frame *frame, const char *word)
{
    return memmem(frame->peek, frame->peek_length, word, strlen(word)) != NULL;
}

#endif
