/* What the programs of the suite share. */
#ifndef COMMON_H
#define COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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

/* Bytes that grow: what is read and not yet understood, or written and not yet taken. */
typedef struct {
  char *data;
  size_t size, room;
} Bytes;

static inline void bytes_add(Bytes *bytes, const char *data, size_t size) {
  if (bytes->size + size > bytes->room) {
    bytes->room = 2 * (bytes->size + size);
    bytes->data = realloc(bytes->data, bytes->room);
  }
  memcpy(bytes->data + bytes->size, data, size);
  bytes->size += size;
}

static inline void bytes_drop(Bytes *bytes, size_t size) {
  memmove(bytes->data, bytes->data + size, bytes->size - size);
  bytes->size -= size;
}

static inline uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double cpu_seconds(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static inline void raise_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void watch(int epoll, int operation, int fd, int writable, void *what) {
  struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = what};
  epoll_ctl(epoll, operation, fd, &event);
}

static inline void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/* A connection under way to a port of this machine. */
static inline int start_connecting(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    perror("socket");
    exit(1);
  }
  no_delay(fd);
  /* Ends with a reset: thousands of ports in TIME_WAIT would be missing in the next round. */
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  struct sockaddr_in address = loopback(port);
  connect(fd, (struct sockaddr *)&address, sizeof address);
  return fd;
}

/* A frame's header, as RFC 6455, section 5.2, has it. */
typedef struct {
  int opcode, masked;
  size_t header, payload;
} FrameHead;

/* Reads it; 0 if more bytes are needed for the whole frame. */
static inline int read_frame_head(const char *data, size_t size, FrameHead *head) {
  const uint8_t *bytes = (const uint8_t *)data;
  if (size < 2)
    return 0;
  head->opcode = bytes[0] & 15;
  head->masked = bytes[1] >> 7;
  size_t length_bytes = (bytes[1] & 127) == 126 ? 2 : (bytes[1] & 127) == 127 ? 8 : 0;
  head->header = 2 + length_bytes + (head->masked ? 4 : 0);
  if (size < head->header)
    return 0;
  head->payload = length_bytes ? 0 : bytes[1] & 127;
  for (size_t i = 0; i < length_bytes; i++)
    head->payload = head->payload << 8 | bytes[2 + i];
  return size >= head->header + head->payload;
}

/* Writes it, unmasked; gives its length. */
static inline size_t write_frame_head(char *data, int opcode, size_t payload) {
  size_t length_bytes = payload < 126 ? 0 : payload < 65536 ? 2 : 8;
  data[0] = (char)(0x80 | opcode);
  data[1] = (char)(length_bytes == 0 ? payload : length_bytes == 2 ? 126 : 127);
  for (size_t i = 0; i < length_bytes; i++)
    data[2 + i] = (char)(payload >> 8 * (length_bytes - 1 - i));
  return 2 + length_bytes;
}

#endif
