/*
 * D-Bus, by libsystemd's sd-bus.
 *
 * The library is opened and the arguments are read as library.h says; the prototypes are stable since systemd 240.
 *
 * Nothing here waits longer than it is told: connecting too has a time-out, for sd-bus itself gives a peer that accepts
 * and says nothing a minute and a half.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "library.h"
#include "native_bus.h"

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;

struct sd_bus_error {
	const char *name;
	const char *message;
	int need_free;
};

struct k_bus {
	sd_bus *bus;
	char peer[256]; /* unique name of who answered the last call; "" without a message bus */
};

static struct {
	int opened;
	int (*new)(sd_bus **bus);
	int (*set_address)(sd_bus *bus, const char *address);
	int (*set_bus_client)(sd_bus *bus, int on);
	int (*start)(sd_bus *bus);
	int (*is_ready)(sd_bus *bus);
	int (*process)(sd_bus *bus, sd_bus_message **message);
	int (*wait)(sd_bus *bus, uint64_t usec);
	sd_bus *(*close_unref)(sd_bus *bus);
	int (*call)(sd_bus *bus, sd_bus_message *call, uint64_t usec, struct sd_bus_error *error, sd_bus_message **reply);
	void (*error_free)(struct sd_bus_error *error);
	int (*new_method_call)(sd_bus *bus, sd_bus_message **message, const char *destination, const char *path,
			       const char *interface, const char *member);
	int (*set_auto_start)(sd_bus_message *message, int on);
	int (*append_basic)(sd_bus_message *message, char type, const void *value);
	int (*open_container)(sd_bus_message *message, char type, const char *contents);
	int (*close_container)(sd_bus_message *message);
	int (*peek_type)(sd_bus_message *message, char *type, const char **contents);
	int (*enter_container)(sd_bus_message *message, char type, const char *contents);
	int (*read_basic)(sd_bus_message *message, char type, void *value);
	int (*read_array)(sd_bus_message *message, char type, const void **array, size_t *size);
	int (*is_signal)(sd_bus_message *message, const char *interface, const char *member);
	const char *(*get_sender)(sd_bus_message *message);
	sd_bus_message *(*message_unref)(sd_bus_message *message);
} lib;

static const struct symbol SYMBOLS[] = {
	{ (void **)&lib.new, "sd_bus_new" },
	{ (void **)&lib.set_address, "sd_bus_set_address" },
	{ (void **)&lib.set_bus_client, "sd_bus_set_bus_client" },
	{ (void **)&lib.start, "sd_bus_start" },
	{ (void **)&lib.is_ready, "sd_bus_is_ready" },
	{ (void **)&lib.process, "sd_bus_process" },
	{ (void **)&lib.wait, "sd_bus_wait" },
	{ (void **)&lib.close_unref, "sd_bus_close_unref" },
	{ (void **)&lib.call, "sd_bus_call" },
	{ (void **)&lib.error_free, "sd_bus_error_free" },
	{ (void **)&lib.new_method_call, "sd_bus_message_new_method_call" },
	{ (void **)&lib.set_auto_start, "sd_bus_message_set_auto_start" },
	{ (void **)&lib.append_basic, "sd_bus_message_append_basic" },
	{ (void **)&lib.open_container, "sd_bus_message_open_container" },
	{ (void **)&lib.close_container, "sd_bus_message_close_container" },
	{ (void **)&lib.peek_type, "sd_bus_message_peek_type" },
	{ (void **)&lib.enter_container, "sd_bus_message_enter_container" },
	{ (void **)&lib.read_basic, "sd_bus_message_read_basic" },
	{ (void **)&lib.read_array, "sd_bus_message_read_array" },
	{ (void **)&lib.is_signal, "sd_bus_message_is_signal" },
	{ (void **)&lib.get_sender, "sd_bus_message_get_sender" },
	{ (void **)&lib.message_unref, "sd_bus_message_unref" },
};

static const char *why = "";

static int open_library(void)
{
	if (!lib.opened)
		lib.opened = open_symbols("libsystemd.so.0", SYMBOLS, COUNT(SYMBOLS), &why) == 0;
	return lib.opened ? 0 : -ELIBACC;
}

const char *k_bus_why(void)
{
	return why;
}

static uint64_t now_usec(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void copy_text(char *to, size_t room, const char *from)
{
	size_t len = strnlen(from ? from : "", room - 1);
	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

/* One step of the connection: a message that nobody has asked for into *message, or wait for something until `end`. */
static int step(sd_bus *bus, uint64_t end, sd_bus_message **message)
{
	int ret = lib.process(bus, message);
	if (ret != 0)
		return ret;
	uint64_t now = now_usec();
	if (now >= end)
		return -ETIMEDOUT;
	ret = lib.wait(bus, end - now);
	return ret == -EINTR ? 0 : ret;
}

int k_bus_open(const char *address, int daemon, int timeout_ms, struct k_bus **out)
{
	uint64_t end = now_usec() + (uint64_t)timeout_ms * 1000;
	int ret = open_library();
	if (ret < 0)
		return ret;
	struct k_bus *bus = calloc(1, sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	ret = lib.new(&bus->bus);
	if (ret >= 0)
		ret = lib.set_address(bus->bus, address);
	if (ret >= 0)
		ret = lib.set_bus_client(bus->bus, daemon);
	if (ret >= 0)
		ret = lib.start(bus->bus);
	while (ret >= 0 && (ret = lib.is_ready(bus->bus)) == 0) {
		sd_bus_message *message = NULL;
		ret = step(bus->bus, end, &message);
		if (message)
			lib.message_unref(message);
	}
	if (ret >= 0) {
		*out = bus;
		return 0;
	}
	if (bus->bus)
		lib.close_unref(bus->bus);
	free(bus);
	return ret;
}

/* --- the flat buffer --- */

/* A text: length, bytes and a NUL, used where it lies. */
static const char *take_text(struct reader *in)
{
	uint32_t len;
	memcpy(&len, take(in, sizeof(len)), sizeof(len));
	const char *text = (const char *)take(in, (size_t)len + 1);
	if (in->bad || memchr(text, '\0', (size_t)len + 1) != text + len)
		in->bad = 1;
	return in->bad ? "" : text;
}

/* One token: a value of a basic type, the opening of a container with its contents, or E, the end of one. */
static int append(sd_bus_message *call, struct reader *in)
{
	char type = (char)*take(in, 1);
	if (type == 'E')
		return lib.close_container(call);
	if (strchr("avr", type)) {
		const char *contents = take_text(in);
		return in->bad ? -EINVAL : lib.open_container(call, type, contents);
	}
	if (strchr("sog", type)) {
		const char *text = take_text(in);
		return in->bad ? -EINVAL : lib.append_basic(call, type, text);
	}
	union {
		uint64_t word;
		uint8_t y;
		int b;
	} value;
	memcpy(&value.word, take(in, sizeof(value.word)), sizeof(value.word)); /* little-endian: the low bytes come first */
	return in->bad ? -EINVAL : lib.append_basic(call, type, &value);
}

/* The first value of a message, out of its variant. */
static int read_reply(sd_bus_message *message, struct k_bus_reply *reply)
{
	char type = 0;
	const char *contents = NULL, *text = NULL;
	int ret = lib.peek_type(message, &type, &contents);
	if (ret > 0 && type == 'v') {
		ret = lib.enter_container(message, 'v', contents);
		if (ret >= 0)
			ret = lib.peek_type(message, &type, &contents);
	}
	if (ret <= 0)
		return ret;
	const void *from = NULL;
	size_t size = 0;
	uint64_t number = 0;
	if (type == 's' || type == 'o') {
		ret = lib.read_basic(message, type, &text);
		from = text;
		size = ret < 0 ? 0 : strlen(text);
		type = 's';
	} else if (type == 't') {
		ret = lib.read_basic(message, 't', &number);
		from = &number;
		size = sizeof(number);
	} else if (type == 'a' && contents && !strcmp(contents, "y")) {
		ret = lib.read_array(message, 'y', &from, &size);
		type = 'y';
	} else {
		return 0;
	}
	if (ret < 0)
		return ret;
	if (size > sizeof(reply->data))
		return -EMSGSIZE;
	if (size)
		memcpy(reply->data, from, size);
	reply->len = (uint32_t)size;
	reply->type = type;
	return 0;
}

int k_bus_call(struct k_bus *bus, const char *destination, const char *path, const char *interface, const char *member,
	       const unsigned char *flat, uint32_t len, int timeout_ms, struct k_bus_reply *reply)
{
	struct reader in = { flat, flat + len, 0 };
	struct sd_bus_error error = { 0 };
	sd_bus_message *call = NULL, *answer = NULL;
	memset(reply, 0, sizeof(*reply));
	int ret = lib.new_method_call(bus->bus, &call, destination, path, interface, member);
	if (ret >= 0)
		ret = lib.set_auto_start(call, 0);
	while (ret >= 0 && in.at != in.end && !in.bad)
		ret = append(call, &in);
	if (ret >= 0 && in.bad)
		ret = -EINVAL;
	if (ret >= 0)
		ret = lib.call(bus->bus, call, (uint64_t)timeout_ms * 1000, &error, &answer);
	if (ret >= 0) {
		copy_text(bus->peer, sizeof(bus->peer), lib.get_sender(answer));
		ret = read_reply(answer, reply);
	}
	copy_text(reply->error, sizeof(reply->error), error.name);
	copy_text(reply->message, sizeof(reply->message), error.message);
	lib.error_free(&error);
	if (answer)
		lib.message_unref(answer);
	if (call)
		lib.message_unref(call);
	return ret < 0 ? ret : 0;
}

/* Is this JobRemoved of that job, and from whom we asked? Anybody on a message bus may send a signal to anybody. */
static int removed(struct k_bus *bus, sd_bus_message *message, const char *job, struct k_bus_reply *reply)
{
	uint32_t id;
	const char *path, *unit, *result, *sender = lib.get_sender(message);
	if (strcmp(sender ? sender : "", bus->peer) ||
	    lib.is_signal(message, "org.freedesktop.systemd1.Manager", "JobRemoved") <= 0 ||
	    lib.read_basic(message, 'u', &id) <= 0 || lib.read_basic(message, 'o', &path) <= 0 ||
	    lib.read_basic(message, 's', &unit) <= 0 || lib.read_basic(message, 's', &result) <= 0 || strcmp(path, job))
		return 0;
	reply->type = 's';
	reply->len = (uint32_t)strnlen(result, sizeof(reply->data));
	memcpy(reply->data, result, reply->len);
	return 1;
}

int k_bus_job(struct k_bus *bus, const char *job, int timeout_ms, struct k_bus_reply *reply)
{
	uint64_t end = now_usec() + (uint64_t)timeout_ms * 1000;
	int ret = 0, done = 0;
	memset(reply, 0, sizeof(*reply));
	while (ret >= 0 && !done) {
		sd_bus_message *message = NULL;
		ret = step(bus->bus, end, &message);
		if (message) {
			done = removed(bus, message, job, reply);
			lib.message_unref(message);
		}
	}
	return ret < 0 ? ret : 0;
}
