; Long mode with four-level paging: user mode, SYSCALL and SYSRET, page faults of every kind, IST, a timer in user mode.
;
; A Multiboot kernel. Each check prints a letter on COM1; the end is PASS or FAIL. What user mode does is at `user`; every
; exception is noted by `exception`, and user mode checks the notes, which it can read.

MAGIC       equ 0x1badb002
FLAGS       equ 3
COM1        equ 0x3f8
DEBUG_EXIT  equ 0xf4
EXIT_PASS   equ 0x10
EXIT_FAIL   equ 0x11

EFER        equ 0xc0000080
STAR        equ 0xc0000081
LSTAR       equ 0xc0000082
FMASK       equ 0xc0000084
GS_BASE     equ 0xc0000101
KERNEL_GS_BASE equ 0xc0000102

KERNEL_CODE equ 0x08
KERNEL_DATA equ 0x10
USER_DATA   equ 0x20 | 3
USER_CODE   equ 0x28 | 3
TSS_SELECTOR equ 0x30

P           equ 1
W           equ 2
U           equ 4
LARGE       equ 0x80
NO_EXECUTE  equ 1 << 31                 ; in the upper half of an entry

; Virtual addresses of the pages that faults are tried on: the second gigabyte's first table.
DEMAND      equ 0x40000000              ; not present until touched, then read-only until written
NO_EXEC     equ 0x40001000              ; user data that must not be executed
KERNEL_ONLY equ 0x40002000
KERNEL_NOTES equ 0x40003000             ; the page `notes` as the kernel writes it

; What the kernel notes about the last exception.
struc note
.address:   resq 1
.error:     resq 1
.rip:       resq 1
.vector:    resd 1
.count:     resd 1
.ticks:     resd 1
endstruc

section .multiboot progbits alloc noexec nowrite align=4
        dd MAGIC, FLAGS, -(MAGIC + FLAGS)

section .text
global _start
bits 32
_start: cld
        mov esp, kernel_stack_end
        mov eax, 0x80000001
        cpuid
        bt edx, 29
        jnc no_long_mode
        call make_page_tables
        lgdt [gdtr]
        mov eax, cr4
        or eax, 1 << 5                  ; PAE
        mov cr4, eax
        mov eax, pml4
        mov cr3, eax
        mov ecx, EFER
        rdmsr
        or eax, 1 << 0 | 1 << 8 | 1 << 11 ; SCE, LME, NXE
        wrmsr
        mov eax, cr0
        or eax, 1 << 31 | 1 << 16       ; PG, WP
        mov cr0, eax
        jmp KERNEL_CODE:long_mode

no_long_mode:
        mov al, EXIT_FAIL
        out DEBUG_EXIT, al
.stop:  hlt
        jmp .stop

; The first 2 MiB are the kernel's in small pages, except that user mode may execute `user`, write its stack and read `notes`;
; 14 MiB behind them are the kernel's in large pages.
make_page_tables:
        mov dword [pml4], pdpt + (P | W | U)
        mov dword [pdpt], low_directory + (P | W | U)
        mov dword [pdpt + 1 * 8], fault_directory + (P | W | U)
        mov dword [low_directory], low_table + (P | W | U)
        mov dword [fault_directory], fault_table + (P | W | U)
        mov ecx, 1
.large: mov eax, ecx
        shl eax, 21
        or eax, P | W | LARGE
        mov [low_directory + ecx * 8], eax
        inc ecx
        cmp ecx, 8
        jb .large
        xor ecx, ecx
.small: mov eax, ecx
        shl eax, 12
        or eax, P | W
        mov [low_table + ecx * 8], eax
        inc ecx
        cmp ecx, 512
        jb .small
        mov eax, user
        shr eax, 12
        and byte [low_table + eax * 8], ~W & 0xff
        or byte [low_table + eax * 8], U
        mov eax, user_stack
        shr eax, 12
        or byte [low_table + eax * 8], U
        mov eax, notes
        shr eax, 12
        and byte [low_table + eax * 8], ~W & 0xff
        or byte [low_table + eax * 8], U
        mov dword [fault_table + 1 * 8], fault_page + (P | W | U)
        mov dword [fault_table + 1 * 8 + 4], NO_EXECUTE
        mov dword [fault_table + 2 * 8], fault_page + (P | W)
        mov dword [fault_table + 3 * 8], notes + (P | W)
        ret

bits 64
default rel
long_mode:
        mov ax, KERNEL_DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        xor ax, ax
        mov fs, ax
        mov gs, ax
        mov esp, kernel_stack_end
        call make_idt
        call make_tss
        call set_msrs
        call remap_pic
        mov al, 'l'
        call put

        call check_ist
        mov al, 'k'
        call put

        ; To user mode by IRET.
        push USER_DATA
        lea rax, [user_stack_end]
        push rax
        push 0x202
        push USER_CODE
        lea rax, [user]
        push rax
        iretq

; An exception in the kernel whose gate names an IST runs on that stack, and IRET brings the old one back.
check_ist:
        mov rbx, rsp
        ud2
        cmp rsp, rbx
        jne fail
        lea rax, [ist1_end]
        sub rax, [handler_stack_of_ud]
        cmp rax, 4096
        ja fail
        ret

; Calls into the kernel: RAX = 0 end with the result in RDI (1: passed), 1 add RDI and RSI, 2 print DIL, 3 timer on.
syscall_entry:
        swapgs
        mov [gs:8], rsp
        mov rsp, [gs:0]
        push rcx
        push r11
        test eax, eax
        jz .end
        cmp eax, 1
        je .add
        cmp eax, 2
        je .print
        cmp eax, 3
        je .timer
        jmp fail
.add:   lea rax, [rdi + rsi]
        jmp .return
.print: mov eax, edi
        call put
        jmp .return
.timer: call start_timer
.return:
        pop r11
        pop rcx
        mov rsp, [gs:8]
        swapgs
        o64 sysret
.end:   cmp edi, 1
        jne fail
        lea rsi, [text_pass]
        mov bl, EXIT_PASS
        jmp finish

fail:   lea rsi, [text_fail]
        mov bl, EXIT_FAIL
finish: lodsb
        test al, al
        jz .end
        call put
        jmp finish
.end:   mov al, bl
        out DEBUG_EXIT, al
.stop:  cli
        hlt
        jmp .stop

; Entries of the exceptions that are expected: vector and, if the CPU pushes none, a zero error code.
%macro entry 2
entry_%1:
%if %2 == 0
        push 0
%endif
        push %1
        jmp exception
%endmacro
        entry 6, 0
        entry 8, 1
        entry 13, 1
        entry 14, 1
        entry 0x80, 0

; Stack: R10, RBX, RAX, vector, error code, RIP, CS, RFLAGS, RSP, SS. Notes what happened, and makes going on possible.
exception:
        push rax
        push rbx
        push r10
        mov eax, [rsp + 24]
        mov [abs KERNEL_NOTES + note.vector], eax
        mov rbx, [rsp + 32]
        mov [abs KERNEL_NOTES + note.error], rbx
        mov rbx, [rsp + 40]
        mov [abs KERNEL_NOTES + note.rip], rbx
        inc dword [abs KERNEL_NOTES + note.count]
        cmp eax, 14
        je .page_fault
        cmp eax, 6
        je .undefined
        cmp eax, 13
        je .protection
        cmp eax, 0x80
        je .return
        jmp fail
.undefined:
        mov [handler_stack_of_ud], rsp
        add qword [rsp + 40], 2         ; over UD2
        jmp .return
.protection:
        inc qword [rsp + 40]            ; over CLI or HLT
        jmp .return
.page_fault:
        mov rbx, cr2
        mov [abs KERNEL_NOTES + note.address], rbx
        mov eax, [rsp + 32]
        cmp ebx, NO_EXEC
        je .executed
        test al, P
        jz .map
        cmp ebx, KERNEL_ONLY
        je .skip
        ; A write to the read-only page: now it may be written.
        or byte [fault_table], W
        invlpg [rbx]
        jmp .return
.map:   lea eax, [fault_page]
        or eax, P | U
        mov [fault_table], rax
        jmp .return
.executed:
        mov rax, [rsp + 64]             ; as if the page had held RET
        mov rbx, [rax]
        mov [rsp + 40], rbx
        add qword [rsp + 64], 8
        jmp .return
.skip:  add qword [rsp + 40], 2         ; over MOV AL, [RBX]
.return:
        pop r10
        pop rbx
        pop rax
        add rsp, 16
        iretq

timer_entry:
        push rax
        inc dword [abs KERNEL_NOTES + note.ticks]
        mov al, 0x20
        out 0x20, al
        pop rax
        iretq

unexpected:
        jmp fail

; All gates fail, but for those that are expected. #UD and #DF have stacks of their own.
make_idt:
        lea rdi, [idt]
        mov ecx, 256
        lea rax, [unexpected]
.next:  call set_gate
        add rdi, 16
        loop .next
%macro gate 2
        lea rdi, [idt + %1 * 16]
        lea rax, [%2]
        call set_gate
%endmacro
        gate 6, entry_6
        mov byte [rdi + 4], 1
        gate 8, entry_8
        mov byte [rdi + 4], 2
        gate 13, entry_13
        gate 14, entry_14
        gate 0x20, timer_entry
        gate 0x80, entry_0x80
        or byte [rdi + 5], 3 << 5       ; user mode may call it
        lidt [idtr]
        ret

; Interrupt gate for the handler RAX at RDI. Everything lies below 4 GiB.
set_gate:
        mov [rdi], ax
        mov word [rdi + 2], KERNEL_CODE
        mov word [rdi + 4], 0x8e00
        mov edx, eax
        shr edx, 16
        mov [rdi + 6], dx
        mov qword [rdi + 8], 0
        ret

make_tss:
        lea rax, [kernel_stack_end]
        mov [tss + 4], rax              ; RSP0
        lea rax, [ist1_end]
        mov [tss + 36], rax
        lea rax, [ist2_end]
        mov [tss + 44], rax
        mov word [tss + 102], tss_bytes ; no I/O bitmap
        lea rax, [tss]
        mov [gdt + TSS_SELECTOR + 2], ax
        shr eax, 16
        mov [gdt + TSS_SELECTOR + 4], al
        mov [gdt + TSS_SELECTOR + 7], ah
        mov ax, TSS_SELECTOR
        ltr ax
        ret

%macro msr 3                            ; number, low half, high half
        mov ecx, %1
        mov eax, %2
        mov edx, %3
        wrmsr
%endmacro
set_msrs:
        ; SYSRET loads CS from the upper selector + 16 and SS from it + 8.
        msr STAR, 0, 0x18 << 16 | KERNEL_CODE
        msr LSTAR, syscall_entry, 0
        msr FMASK, 1 << 8 | 1 << 9 | 1 << 10, 0 ; TF, IF, DF
        msr GS_BASE, 0, 0
        msr KERNEL_GS_BASE, per_cpu, 0
        lea rax, [syscall_stack_end]
        mov [per_cpu], rax
        ret

%macro outb 2
        mov al, %2
        out %1, al
%endmacro
remap_pic:
        outb 0x20, 0x11
        outb 0x21, 0x20
        outb 0x21, 4
        outb 0x21, 1
        outb 0xa0, 0x11
        outb 0xa1, 0x28
        outb 0xa1, 2
        outb 0xa1, 1
        outb 0x21, 0xff
        outb 0xa1, 0xff
        ret

start_timer:
        outb 0x43, 0x34
        outb 0x40, 11932 & 0xff
        outb 0x40, 11932 >> 8
        outb 0x21, 0xfe
        ret

; Sends AL.
put:    push rdx
        push rax
        mov dx, COM1 + 5
.busy:  in al, dx
        test al, 0x20
        jz .busy
        pop rax
        mov dx, COM1
        out dx, al
        pop rdx
        ret

; ---- User mode: a page that it can read and execute, a stack, and the kernel's notes ----
section .user progbits alloc exec nowrite align=4096
user:
%macro expect 3                         ; vector, error code, address of the instruction
        cmp dword [notes + note.vector], %1
        jne user_fail
        cmp dword [notes + note.error], %2
        jne user_fail
        mov eax, %3
        cmp [notes + note.rip], rax
        jne user_fail
%endmacro
%macro report 1
        mov eax, 2
        mov edi, %1
        syscall
%endmacro

        ; SYSCALL keeps all registers but RAX, RCX and R11.
        mov eax, 1
        mov rdi, 0x1122334455667788
        mov rsi, 0x1111111111111111
        mov r12, rsp
        syscall
.after: mov rdx, 0x2233445566778899
        cmp rax, rdx
        jne user_fail
        cmp rsp, r12
        jne user_fail
        lea rax, [.after]
        cmp rcx, rax
        jne user_fail
        report 's'

        ; A page that is not there; it appears, and the instruction is run again.
        mov ebx, DEMAND + 0x123
        mov ecx, [notes + note.count]
.read:  mov al, [rbx]
        expect 14, U, .read
        cmp [notes + note.address], rbx
        jne user_fail
        inc ecx
        cmp [notes + note.count], ecx
        jne user_fail
        ; The same page is read-only; then it is not.
.write: mov byte [rbx], 0x5a
        expect 14, P | W | U, .write
        cmp byte [rbx], 0x5a
        jne user_fail
        ; The page of the kernel.
        mov ebx, KERNEL_ONLY
.kernel:
        mov al, [rbx]
        expect 14, P | U, .kernel
        report 'p'

        ; Data must not be executed: the fault is at the target.
        mov ebx, NO_EXEC
        call rbx
        expect 14, P | U | 0x10, NO_EXEC
        report 'x'

        ; Privileged and undefined instructions.
.cli:   cli
        expect 13, 0, .cli
.hlt:   hlt
        expect 13, 0, .hlt
.ud2:   ud2
        expect 6, 0, .ud2
        int 0x80
.int:   expect 0x80, 0, .int
        report 'u'

        ; The timer interrupts user mode, and all registers survive it.
        mov eax, 3
        syscall
        xor r8d, r8d
        mov r9, 0x0123456789abcdef
.spin:  inc r8
        cmp dword [notes + note.ticks], 4
        jb .spin
        test r8, r8
        jz user_fail
        mov rax, 0x0123456789abcdef
        cmp rax, r9
        jne user_fail
        report 't'

        mov edi, 1
        jmp user_end
user_fail:
        xor edi, edi
user_end:
        xor eax, eax
        syscall

section .rodata
text_pass:
        db 10, "PASS", 10, 0
text_fail:
        db 10, "FAIL", 10, 0
idtr:   dw 256 * 16 - 1
        dd idt, 0

section .data
        align 8
gdt:    dq 0
        dq 0x00af9b000000ffff           ; kernel code, 64 bit
        dq 0x00cf93000000ffff           ; kernel data
        dq 0                            ; user code, 32 bit: not used
        dq 0x00cff3000000ffff           ; user data
        dq 0x00affb000000ffff           ; user code, 64 bit
        dq 0x0000890000000000 | (tss_bytes - 1), 0
gdtr:   dw $ - gdt - 1
        dd gdt

section .bss
        alignb 4096
pml4:   resb 4096
pdpt:   resb 4096
low_directory:
        resb 4096
low_table:
        resb 4096
fault_directory:
        resb 4096
fault_table:
        resb 4096
fault_page:
        resb 4096
user_stack:
        resb 4096
user_stack_end:
notes:  resb 4096                       ; user mode can read this page
idt:    resb 256 * 16
        resb 4096
kernel_stack_end:
        resb 4096
ist1_end:
        resb 4096
ist2_end:
        resb 4096
syscall_stack_end:
handler_stack_of_ud:
        resq 1
per_cpu:
        resq 2                          ; the kernel's stack, the user's
tss:    resb 104
tss_bytes equ $ - tss
