/* Where a program starts (x86-64), on C libraries before and after 2.34.
 *
 * Before, __libc_start_main ran the initialisers only through a function that the program gave it; since then it
 * finds them itself, and the compiler's own crt1.o gives it none. This one gives it the function: both then run it. */

#define HIDDEN __attribute__((visibility("hidden")))

typedef void (*initialiser)(int, char **, char **);

/* Named by the linker. */
extern initialiser __preinit_array_start[] HIDDEN, __preinit_array_end[] HIDDEN;
extern initialiser __init_array_start[] HIDDEN, __init_array_end[] HIDDEN;
extern void _init(void) HIDDEN;

HIDDEN void sonotune_initialise(int argc, char **argv, char **environment) {
    for (initialiser *one = __preinit_array_start; one < __preinit_array_end; one++)
        (*one)(argc, argv, environment);
    _init();
    for (initialiser *one = __init_array_start; one < __init_array_end; one++)
        (*one)(argc, argv, environment);
}

/* The loader itself runs what is to be done at the end. */
HIDDEN void sonotune_finish(void) {}

__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        ".cfi_startproc\n"
        ".cfi_undefined rip\n" /* the outermost frame */
        "    xor %ebp, %ebp\n"
        "    mov %rdx, %r9\n" /* the loader's function for the end */
        "    pop %rsi\n"      /* argc */
        "    mov %rsp, %rdx\n" /* argv */
        "    and $-16, %rsp\n"
        "    push %rax\n"
        "    push %rsp\n" /* the end of the stack, as the seventh argument */
        "    lea sonotune_finish(%rip), %r8\n"
        "    lea sonotune_initialise(%rip), %rcx\n"
        "    mov main@GOTPCREL(%rip), %rdi\n"
        "    call *__libc_start_main@GOTPCREL(%rip)\n"
        "    hlt\n"
        ".cfi_endproc\n"
        ".size _start, . - _start\n"
        ".section .note.GNU-stack, \"\", @progbits\n"
        ".text\n");
