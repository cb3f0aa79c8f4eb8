// Runs handler.js, which is part of the program, in QuickJS-ng: stdin is the argument of `handle`, what it
// returns goes to stdout, what it throws to stderr with exit code 1.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "quickjs.h"

// The bytes of handler.js and a 0, made by the build.
#include "handler.h"

static JSContext *context;
static JSValue handle;

static bool tell_exception(void) {
    JSValue exception = JS_GetException(context);
    const char *message = JS_ToCString(context, exception);
    fprintf(stderr, "%s\n", message ? message : "something that has no text was thrown");
    JS_FreeCString(context, message);
    return false;
}

// The engine and the script, up to the function `handle`.
static bool start(void) {
    if (context)
        return true;
    JSRuntime *runtime = JS_NewRuntime();
    context = runtime ? JS_NewContext(runtime) : NULL;
    if (!context) {
        fputs("there is no memory for the engine\n", stderr);
        return false;
    }
    JSValue ran = JS_Eval(context, (const char *)handler, sizeof handler - 1, "handler.js", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(ran))
        return tell_exception();
    JSValue global = JS_GetGlobalObject(context);
    handle = JS_GetPropertyStr(context, global, "handle");
    JS_FreeValue(context, global);
    return true;
}

#ifdef __wasm__
// What pre-initialising runs: every instance then begins with the engine and the script in place.
__attribute__((export_name("wizer-initialize"))) void initialize(void) {
    if (!start())
        abort();
}
#endif

static bool read_all(char **text, size_t *length) {
    size_t room = 16 * 1024;
    ssize_t count = 0;
    *text = malloc(room);
    *length = 0;
    while (*text && (count = read(STDIN_FILENO, *text + *length, room - *length)) > 0) {
        *length += (size_t)count;
        if (*length == room) {
            char *more = realloc(*text, room *= 2);
            if (!more)
                free(*text);
            *text = more;
        }
    }
    return *text && count == 0;
}

static bool write_all(const char *text, size_t length) {
    while (length > 0) {
        ssize_t count = write(STDOUT_FILENO, text, length);
        if (count < 0)
            return false;
        text += count;
        length -= (size_t)count;
    }
    return true;
}

int main(void) {
    char *text;
    size_t length;
    if (!start())
        return 1;
    if (!read_all(&text, &length)) {
        fputs("the body cannot be read\n", stderr);
        return 1;
    }
    JSValue argument = JS_NewStringLen(context, text, length);
    JSValue answer = JS_Call(context, handle, JS_UNDEFINED, 1, &argument);
    if (JS_IsException(answer))
        return !tell_exception();
    const char *output = JS_ToCStringLen(context, &length, answer);
    if (!output || !write_all(output, length)) {
        fputs("the answer cannot be written\n", stderr);
        return 1;
    }
    // The process ends here, and its memory with it.
    return 0;
}
