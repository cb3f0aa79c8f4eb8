#include <stdio.h>

int main(void) {
    char name[256];
    size_t length = fread(name, 1, sizeof name - 1, stdin);
    while (length > 0 && (name[length - 1] == '\n' || name[length - 1] == '\r')) {
        length--;
    }
    name[length] = '\0';
    return printf("Hello, %s!\n", length > 0 ? name : "world") < 0;
}
